//! Tables of errors for spreadsheets; for terminals they are those of reports.

pub(super) use stepcast::report::{columns as text, percent};

/// Comma-separated, with the header as it is.
pub(super) fn csv(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
