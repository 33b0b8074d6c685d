//! `stepcast trace diff`: what accounts for the difference of two timelines.

use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::analysis::{Compared, difference};
use stepcast::report::trace::difference as report;
use stepcast::trace::Recording;

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, output, style};

/// Arguments of `trace diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The one before: a recorded trace, or one that `simulate --trace` wrote
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The one after
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// A table of kernel names of your own, in front of the one that ships
    #[arg(long, value_name = "FILE")]
    kernels: Option<PathBuf>,
    /// Name the kernels and causes that account for most
    #[arg(long, value_name = "N", default_value_t = 15)]
    top: usize,
}

/// Compares and prints.
pub(crate) fn run(args: &DiffArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let open = |path: &PathBuf| {
        let files = TraceFiles { files: vec![path.clone()], kernels: args.kernels.clone() };
        files.open_job(Keep { frames: true, shapes: false }, context)
    };
    let (before, after) = (open(&args.before)?, open(&args.after)?);
    let operations = [&before, &after].map(Recording::operations);
    let [before, after] = [(&before, &operations[0]), (&after, &operations[1])]
        .map(|(one, operations)| Compared { timeline: &one.timeline, operations });
    let difference = difference(before, after);
    let mut text = Vec::new();
    match context.format {
        Format::Text => {
            report::write_text(&difference, args.top, style::of(context), &mut text)?;
        }
        Format::Json => report::write_json(&difference, &mut text)?,
        Format::Csv => report::write_csv(&difference, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
