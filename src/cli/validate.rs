//! `stepcast validate`: measured training runs against predictions.

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::report::validation;
use stepcast::spec::Problem;
use stepcast::validate::{Assignment, Entry, read_runs, validate};

use super::calibrate::read_tables;
use super::{Context, Format, diagnostics, output, style};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Tables of measured runs (CSV)
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The stack of all rows, in place of their own
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The cluster of all rows, in place of their own
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Show the runs that are furthest off
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
}

/// Predicts and prints; fails when no run has a prediction.
pub(crate) fn run(args: &ValidateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let entries = entries(args, context)?;
    if entries.is_empty() {
        return Err(stepcast::spec::Problems::from(Problem::new("", "there are no runs")).into());
    }
    let assumed: BTreeSet<&String> = entries.iter().flat_map(|entry| &entry.assumed).collect();
    for assumption in assumed {
        diagnostics::warn(context, assumption);
    }
    let progress = progress(entries.len(), context);
    let validation = validate(&context.sources, &entries, &|| progress.inc(1));
    progress.finish_and_clear();
    let mut text = Vec::new();
    match context.format {
        Format::Text => {
            validation::write_text(&validation, args.worst, style::of(context), &mut text)?;
        }
        Format::Json => validation::write_json(&validation, &mut text)?,
        Format::Csv => validation::write_csv(&validation, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(if validation.overall.n > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn entries(args: &ValidateArgs, context: &Context) -> anyhow::Result<Vec<Entry>> {
    let (stack, cluster) = (args.stack.clone(), args.cluster.clone());
    let assignment = Assignment { stack, cluster, selects: false };
    let mut entries = Vec::new();
    for table in read_tables(&args.paths)? {
        entries.extend(read_runs(&context.sources, &table, &assignment)?);
    }
    Ok(entries)
}

fn progress(count: usize, context: &Context) -> ProgressBar {
    if context.quiet || count < 2 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("validating {pos}/{len} {bar:40} {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
