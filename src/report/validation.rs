//! Validations as tables, JSON and CSV.

mod html;
mod plot;

use serde::Serialize;
use std::io::{self, Write};

use super::Style;
use super::json::SCHEMA_VERSION;
use super::table::{columns, percent};
use super::text::heading;
use crate::analysis::{Errors, Family, Run, Validation};
use crate::units::Seconds;

pub use html::write_html;
pub use plot::scatter;

/// Writes errors by family, the `worst` runs, and the runs without a prediction.
///
/// # Errors
/// When the writer fails.
pub fn write_text(
    validation: &Validation,
    worst: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{}", families(validation))?;
    let runs: Vec<&Run> = validation.worst().into_iter().take(worst).collect();
    if !runs.is_empty() {
        let header = ["family", "run", "largest part", "measured", "predicted", "error"];
        let rows: Vec<_> = runs.iter().map(|run| cells(run)).collect();
        write!(out, "\n{}{}", heading("Furthest off", style), columns(&header, &rows, 3))?;
    }
    let problems: Vec<(&Run, &str)> =
        validation.runs.iter().filter_map(|run| Some((run, run.problem.as_deref()?))).collect();
    if !problems.is_empty() {
        let title = format!("Without a prediction ({})", problems.len());
        write!(out, "\n{}", heading(&title, style))?;
        for (run, problem) in problems {
            writeln!(out, "  {} {}: {problem}", run.family, run.id)?;
        }
    }
    Ok(())
}

/// A row a family, and one of all where there are several.
pub fn families(validation: &Validation) -> String {
    columns(&FAMILY_COLUMNS, &family_rows(validation), 1)
}

/// What is told of a family.
pub const FAMILY_COLUMNS: [&str; 14] = [
    "family", "runs", "problems", "MAPE", "median", "P95", "bias", "in 80 %", "memory", "tau",
    "regret", "pairs", "sign", "ratio",
];

/// Cells of [`FAMILY_COLUMNS`], a row a family, and one of all where there are several.
pub fn family_rows(validation: &Validation) -> Vec<Vec<String>> {
    let several = validation.families.len() > 1;
    let all = several.then_some(&validation.overall);
    validation.families.iter().chain(all).map(family).collect()
}

fn family(family: &Family) -> Vec<String> {
    let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), percent);
    let of = |value: fn(&Errors) -> f64| family.step_time.as_ref().map(value);
    let bias = of(|errors| errors.bias);
    vec![
        family.family.clone(),
        family.n.to_string(),
        family.problem_count.to_string(),
        share(of(|errors| errors.mape)),
        share(of(|errors| errors.median_ape)),
        share(of(|errors| errors.p95_ape)),
        bias.map_or_else(|| "-".to_owned(), |bias| format!("{:+.1} %", 100.0 * bias)),
        share(family.within_interval),
        share(family.memory.map(|memory| memory.errors.mape)),
        family.kendall_tau.map_or_else(|| "-".to_owned(), |tau| format!("{tau:.2}")),
        share(family.top1_regret),
        family.pairs.n.to_string(),
        share(family.pairs.sign_agreement),
        share(family.pairs.median_ratio_error),
    ]
}

fn cells(run: &Run) -> Vec<String> {
    let predicted = run.predicted_step_time_s.map(|seconds| Seconds::new(seconds).to_string());
    let error = run.error_fraction.map(|error| format!("{:+.1} %", 100.0 * error));
    vec![
        run.family.clone(),
        run.id.clone(),
        run.largest_part.clone().unwrap_or_default(),
        Seconds::new(run.measured_step_time_s).to_string(),
        predicted.unwrap_or_default(),
        error.unwrap_or_default(),
    ]
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    validation: &'a Validation,
}

/// Writes one object, a contract: keys may come, none goes.
///
/// - `schema_version`: 1.
/// - `families`: for each `family` the number `n` of runs with a prediction and `problem_count` of
///   those without; `step_time` and `memory` (`null` where nothing was measured) with `mape`,
///   `median_ape`, `p95_ape` and the mean signed error `bias` as fractions; `kendall_tau` and
///   `top1_regret` over runs that share model, machine and batch; `pairs` of such runs that differ
///   in one key of plan or stack: `n`, `sign_agreement` where the measured change exceeds 3 %,
///   `median_ratio_error`; `within_interval`, the share of runs in their 80 % interval.
/// - `overall`: the same of all runs.
/// - `runs`: `id`, `family`, `quality`, `measured_step_time_s`, `predicted_step_time_s`,
///   `error_fraction`, `predicted_interval_s`, `measured_peak_bytes`, `predicted_peak_bytes`,
///   `memory_kind`, `largest_part`, `assumed`, `problem` (`null` where there is none).
///
/// # Errors
/// When the writer fails.
pub fn write_json(validation: &Validation, out: &mut dyn Write) -> io::Result<()> {
    let document = Document { schema_version: SCHEMA_VERSION, validation };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// Writes a line a run.
///
/// # Errors
/// When the writer fails.
pub fn write_csv(validation: &Validation, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "id",
        "family",
        "quality",
        "measured_step_time_s",
        "predicted_step_time_s",
        "error_fraction",
        "measured_peak_bytes",
        "predicted_peak_bytes",
        "memory_kind",
        "largest_part",
        "assumed",
        "problem",
    ])?;
    for run in &validation.runs {
        let number = |value: Option<f64>| value.map_or_else(String::new, |it| it.to_string());
        let bytes = |value: Option<u64>| value.map_or_else(String::new, |it| it.to_string());
        writer.write_record([
            run.id.clone(),
            run.family.clone(),
            run.quality.clone(),
            run.measured_step_time_s.to_string(),
            number(run.predicted_step_time_s),
            number(run.error_fraction),
            bytes(run.measured_peak_bytes),
            bytes(run.predicted_peak_bytes),
            run.memory_kind.unwrap_or_default().to_owned(),
            run.largest_part.clone().unwrap_or_default(),
            run.assumed.join("; "),
            run.problem.clone().unwrap_or_default(),
        ])?;
    }
    writer.flush()
}
