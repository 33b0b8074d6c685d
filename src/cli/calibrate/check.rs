//! `stepcast calibrate check`: every row of a table against the fits that ship.
//!
//! `--format json` prints one object, a contract: keys may come, none goes.
//!
//! - `groups`: for each GPU, kind and number format of the tables `gpu`, `kind`, `dtype`, `n`, and
//!   as fractions `mape`, `median_ape`, `p95_ape`, `bias_time_weighted` (sum of predicted over sum
//!   of measured times, less 1); `one_factor` (median of measured over predicted),
//!   `mape_after_one_factor`, and `within_interval`: the share of rows in their 80 % interval.
//! - `overall`: the same of all rows.
//! - `worst`: with `--worst N`, rows that are furthest off: `table`, `line`, `gpu`, `kind`,
//!   `dtype`, `shape`, `measured_us`, `predicted_us`, `relative_error` (one sigma), `answered_by`.
//! - `left_out`: rows that could not be used, as `file:line: why`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::calibrate::{CheckOptions, Checked, Group, groups, kinds_of, overall};

use super::residuals::{csv, percent, text};
use super::{CostKind, fits, hardware, read_tables, refused, tell};
use crate::cli::{Context, Format, output};

/// Arguments of `calibrate check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Measured tables, CSV, packed with gzip or not
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this kind of cost [default: what the header says]
    #[arg(long, value_enum)]
    kind: Option<CostKind>,
    /// The GPU that was measured: needed where the table does not say, else only its rows are used
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// Only some rows
    #[arg(long, value_enum)]
    subset: Option<Subset>,
    /// Show the rows that are furthest off
    #[arg(long, value_name = "N", default_value_t = 0)]
    worst: usize,
    /// Predict each GPU from the fits of the others
    #[arg(long)]
    leave_gpu_out: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subset {
    /// GEMM with m >= 1024, n and k >= 512; attention causal, heads of 128, 1k tokens and up
    Training,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    groups: &'a [Group],
    overall: &'a Group,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worst: Vec<&'a Checked>,
    left_out: Vec<String>,
}

/// Checks and prints.
pub(super) fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let (hardware, fits) = (hardware(context)?, fits(context)?);
    let options = CheckOptions { gpu: args.gpu.clone(), leave_gpu_out: args.leave_gpu_out };
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for table in read_tables(&args.files)? {
        let kinds = kinds_of(&table, args.kind.map(CostKind::name)).map_err(|it| refused(&it))?;
        for kind in kinds {
            let (checked, left_out) =
                kind.check(&table, &hardware, &fits, &options).map_err(|fault| refused(&fault))?;
            rows.extend(checked);
            for fault in left_out {
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
    }
    if matches!(args.subset, Some(Subset::Training)) {
        rows.retain(|row| row.is_training);
    }
    tell(&faults, context);
    rows.sort_by(|left, right| right.log_error().abs().total_cmp(&left.log_error().abs()));
    let groups = groups(&rows);
    let report = Report {
        groups: &groups,
        overall: &overall(&rows),
        worst: rows.iter().take(args.worst).collect(),
        left_out: faults.iter().map(ToString::to_string).collect(),
    };
    output::print(&match context.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
        Format::Csv => as_csv(&report)?,
        Format::Text => as_text(&report),
    })?;
    Ok(if rows.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn as_text(report: &Report<'_>) -> String {
    let row = |group: &Group| {
        vec![
            group.gpu.clone(),
            group.kind.clone(),
            group.dtype.clone(),
            group.n.to_string(),
            percent(group.mape),
            percent(group.median_ape),
            percent(group.p95_ape),
            format!("{:+.1} %", 100.0 * group.bias_time_weighted),
            format!("{:.3}", group.one_factor),
            percent(group.mape_after_one_factor),
            percent(group.within_interval),
        ]
    };
    let header = [
        "gpu",
        "kind",
        "dtype",
        "rows",
        "MAPE",
        "median",
        "P95",
        "bias",
        "factor",
        "MAPE after",
        "in 80 %",
    ];
    let rows: Vec<_> = report.groups.iter().chain([report.overall]).map(row).collect();
    let mut out = text(&header, &rows, 3);
    if !report.worst.is_empty() {
        let row = |row: &&Checked| {
            vec![
                format!("{}:{}", row.table, row.line),
                row.gpu.clone(),
                row.shape.clone(),
                format!("{:.1}", row.measured_us),
                format!("{:.1}", row.predicted_us),
                format!("{:+.1} %", 100.0 * row.deviation()),
                row.answered_by.clone(),
            ]
        };
        let header = ["row", "gpu", "shape", "measured us", "predicted us", "error", "by"];
        let rows: Vec<_> = report.worst.iter().map(row).collect();
        out.push('\n');
        out.push_str(&text(&header, &rows, 3));
    }
    out
}

fn as_csv(report: &Report<'_>) -> anyhow::Result<String> {
    let header = [
        "gpu",
        "kind",
        "dtype",
        "n",
        "mape",
        "median_ape",
        "p95_ape",
        "bias_time_weighted",
        "one_factor",
        "mape_after_one_factor",
        "within_interval",
    ];
    let row = |group: &Group| {
        let numbers = [
            group.mape,
            group.median_ape,
            group.p95_ape,
            group.bias_time_weighted,
            group.one_factor,
            group.mape_after_one_factor,
            group.within_interval,
        ];
        let mut cells =
            vec![group.gpu.clone(), group.kind.clone(), group.dtype.clone(), group.n.to_string()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells
    };
    csv(&header, &report.groups.iter().chain([report.overall]).map(row).collect::<Vec<_>>())
}
