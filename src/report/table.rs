//! Tables and numbers for terminals.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table without frames; all columns but the first are flush right. `indent` blanks in front of
/// each line, none behind.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], indent: usize) -> String {
    let blanks = " ".repeat(indent);
    columns(header, rows, 1).lines().map(|line| format!("{blanks}{line}\n")).collect()
}

/// A table without frames, the first `names` columns flush left and the others right.
pub fn columns(header: &[&str], rows: &[Vec<String>], names: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= names {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A bar of eighths of a column, `width` columns at most.
pub(super) fn bar(fraction: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (fraction.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// `41.3 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// `12,345`.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bars_end_in_eighths() {
        assert_eq!(
            ["0", "999", "1,000", "-12,345,678"],
            [0.0, 999.4, 999.6, -12_345_678.0].map(grouped)
        );
        assert_eq!(bar(0.25, 2), "▌");
        assert_eq!(bar(2.0, 2), "██");
        assert_eq!(bar(f64::NAN, 2), "");
    }
}
