//! The difference of two timelines as tables, JSON and CSV.

use std::io::{self, Write};

use super::name::short;
use crate::analysis::{PartDifference, TimelineDifference};
use crate::report::Style;
use crate::report::table::table;
use crate::report::text::heading;
use crate::units::Seconds;

/// Differences below this share of the step are not listed for people.
const LEAST: f64 = 0.001;

/// Writes the total, then the kinds of work and `top` names that make it up.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(
    difference: &TimelineDifference,
    top: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let what = if difference.is_per_step { "a step" } else { "the whole window" };
    let first = format!(
        "{what}: {} before, {} after, {}",
        time(difference.before_us),
        time(difference.after_us),
        signed(difference.difference_us)
    );
    out.write_all(heading(&first, style).as_bytes())?;
    if difference.is_per_step && difference.before_steps.min(difference.after_steps) == 0 {
        writeln!(out, "  one of them marks no steps and counts as one step")?;
    }
    let header = ["", "before", "after", "difference", "by number", "by length", "count"];
    let title = |part: &PartDifference| match part.kind {
        "communication" => "exposed communication".to_owned(),
        "copy" => "exposed copies".to_owned(),
        kind => kind.replace('_', " "),
    };
    let rows: Vec<Vec<String>> =
        difference.kinds.iter().map(|part| row(title(part), part)).collect();
    write!(out, "\n{}{}", heading("By kind", style), table(&header, &rows, 2))?;
    let columns = style.width.saturating_sub(62).max(24);
    let least = LEAST * difference.before_us.max(difference.after_us);
    let listed = difference.parts.iter().filter(|part| part.difference_us.abs() >= least);
    let rows: Vec<Vec<String>> =
        listed.take(top).map(|part| row(short(&part.name, columns), part)).collect();
    if !rows.is_empty() {
        write!(out, "\n{}{}", heading("By name", style), table(&header, &rows, 2))?;
    }
    Ok(())
}

fn row(name: String, part: &PartDifference) -> Vec<String> {
    let count = match (part.before_count > 0.0, part.after_count > 0.0) {
        (false, false) => String::new(),
        (true, false) => "gone".to_owned(),
        (false, true) => format!("new, {}", number(part.after_count)),
        _ if part.before_count == part.after_count => number(part.before_count),
        _ => format!("{} to {}", number(part.before_count), number(part.after_count)),
    };
    let is_counted = part.before_count > 0.0 && part.after_count > 0.0;
    let split = |us: f64| if is_counted { signed(us) } else { String::new() };
    vec![
        name,
        time(part.before_us),
        time(part.after_us),
        signed(part.difference_us),
        split(part.by_count_us),
        split(part.by_length_us),
        count,
    ]
}

fn number(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.1}") }
}

fn time(us: f64) -> String {
    Seconds::from_us(us).to_string()
}

fn signed(us: f64) -> String {
    let sign = if us < 0.0 { '-' } else { '+' };
    format!("{sign}{}", time(us.abs()))
}

/// Writes the difference as one object, with `schema_version`.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(difference: &TimelineDifference, out: &mut dyn Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        schema_version: u32,
        #[serde(flatten)]
        difference: &'a TimelineDifference,
    }
    serde_json::to_writer_pretty(&mut *out, &Document { schema_version: 1, difference })?;
    writeln!(out)
}

/// Writes a row a name. Times are microseconds.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(difference: &TimelineDifference, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for part in &difference.parts {
        writer.serialize(part)?;
    }
    writer.flush()
}
