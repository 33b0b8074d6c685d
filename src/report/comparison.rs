//! Comparisons as tables, JSON and CSV.

use anstyle::Style as Ansi;
use serde::Serialize;
use std::io::{self, Write};

use super::Style;
use super::json::SCHEMA_VERSION;
use super::table::{grouped, percent, table};
use super::text::{heading, paint};
use crate::analysis::{Comparison, ComparisonRow, Difference, Outcome, Predicted};
use crate::units::{Bytes, Seconds};

/// Reasons told for each candidate at most.
const MOST_REASONS: usize = 4;

/// Writes a table, best first, and under it the reasons in numbers.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(comparison: &Comparison, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let header = ["", "step time", "tokens/s/GPU", "MFU", "memory a GPU", "fits", "largest loss"];
    let mut rows = Vec::new();
    let mut reasons = String::new();
    let mut refused = String::new();
    let best = comparison.rows.first().and_then(predicted);
    for row in &comparison.rows {
        if let Some(predicted) = predicted(row) {
            rows.push(cells(&row.name, predicted));
        }
        match &row.outcome {
            Outcome::Fits(_) => {}
            Outcome::DoesNotFit(predicted) => {
                let sentence = format!(
                    "does not fit: stage {} needs {} of {} a GPU",
                    predicted.fullest_stage,
                    bytes(predicted.peak_reserved_bytes),
                    bytes(predicted.capacity_bytes)
                );
                refused.push_str(&format!("  {}: {sentence}\n", row.name));
            }
            Outcome::Invalid { reason } => {
                let reason = reason.replace('\n', "\n    ");
                refused.push_str(&format!("  {}: {reason}\n", row.name));
            }
        }
        if let (Some(best), Some(predicted)) = (best, predicted(row))
            && !std::ptr::eq(best, predicted)
        {
            reasons.push_str(&format!("  {}: {}\n", row.name, reason(predicted)));
        }
    }
    if !rows.is_empty() {
        let lines = table(&header, &rows, 0);
        let (first, rest) = lines.split_once('\n').unwrap_or((&lines, ""));
        write!(out, "{}\n{rest}", paint(first, Ansi::new().bold(), style))?;
    }
    if let (Some(best), false) = (comparison.rows.first(), reasons.is_empty()) {
        let first = format!("Against {}, for as many tokens", best.name);
        write!(out, "\n{}{reasons}", heading(&first, style))?;
    }
    if !refused.is_empty() {
        let gap = if rows.is_empty() { "" } else { "\n" };
        write!(out, "{gap}{}{refused}", heading("Cannot run", style))?;
    }
    Ok(())
}

fn predicted(row: &ComparisonRow) -> Option<&Predicted> {
    match &row.outcome {
        Outcome::Fits(predicted) | Outcome::DoesNotFit(predicted) => Some(predicted),
        Outcome::Invalid { .. } => None,
    }
}

fn bytes(bytes: u64) -> Bytes {
    Bytes::new(bytes as f64)
}

fn cells(name: &str, predicted: &Predicted) -> Vec<String> {
    let loss = predicted.largest_loss.as_ref();
    let fits = predicted.peak_reserved_bytes <= predicted.capacity_bytes;
    vec![
        name.to_owned(),
        Seconds::new(predicted.step_time_s).to_string(),
        grouped(predicted.tokens_per_s_per_gpu),
        percent(predicted.mfu),
        bytes(predicted.peak_reserved_bytes).to_string(),
        if fits { "yes" } else { "no" }.to_owned(),
        loss.map_or("-".to_owned(), |loss| format!("{} {}", loss.part, percent(loss.fraction))),
    ]
}

/// `+1.2 s: bubble +1.0 s, compute +0.2 s`: the total, then what makes it up, the largest first.
fn reason(predicted: &Predicted) -> String {
    let total: f64 = predicted.differences.iter().map(|it| it.time_s).sum();
    let mut parts: Vec<&Difference> = predicted.differences.iter().collect();
    parts.sort_by(|left, right| right.time_s.abs().total_cmp(&left.time_s.abs()));
    // Differences far below the largest explain nothing.
    let least = parts.first().map_or(0.0, |part| part.time_s.abs() / 50.0);
    let parts: Vec<String> = parts
        .iter()
        .take(MOST_REASONS)
        .filter(|part| part.time_s.abs() >= least)
        .map(|part| format!("{} {}", part.part, signed(part.time_s)))
        .collect();
    match parts.is_empty() {
        true => "the same".to_owned(),
        false => format!("{}: {}", signed(total), parts.join(", ")),
    }
}

fn signed(seconds: f64) -> String {
    let sign = if seconds < 0.0 { '-' } else { '+' };
    format!("{sign}{}", Seconds::new(seconds.abs()))
}

/// Writes `{"schema_version": 1, "rows": [...]}`, best first: each row has `name`, `outcome`
/// (`fits`, `does_not_fit` or `invalid`), and its numbers or the `reason` why there are none.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema_version: u32,
        #[serde(flatten)]
        comparison: &'a Comparison,
    }
    let document = Document { schema_version: SCHEMA_VERSION, comparison };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// Writes a header and a row a candidate, best first.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record([
        "name",
        "outcome",
        "step_time_s",
        "tokens_per_s_per_gpu",
        "mfu",
        "peak_reserved_bytes",
        "capacity_bytes",
        "largest_loss",
        "largest_loss_s",
        "reason",
    ])?;
    for row in &comparison.rows {
        let (outcome, reason) = match &row.outcome {
            Outcome::Fits(_) => ("fits", ""),
            Outcome::DoesNotFit(_) => ("does_not_fit", ""),
            Outcome::Invalid { reason } => ("invalid", reason.as_str()),
        };
        let mut record = vec![row.name.clone(), outcome.to_owned()];
        match predicted(row) {
            None => record.extend(std::iter::repeat_n(String::new(), 7)),
            Some(predicted) => {
                let loss = predicted.largest_loss.as_ref();
                record.extend([
                    predicted.step_time_s.to_string(),
                    predicted.tokens_per_s_per_gpu.to_string(),
                    predicted.mfu.to_string(),
                    predicted.peak_reserved_bytes.to_string(),
                    predicted.capacity_bytes.to_string(),
                    loss.map_or(String::new(), |loss| loss.part.to_owned()),
                    loss.map_or(String::new(), |loss| loss.time_s.to_string()),
                ]);
            }
        }
        record.push(reason.to_owned());
        writer.write_record(record)?;
    }
    writer.flush()
}
