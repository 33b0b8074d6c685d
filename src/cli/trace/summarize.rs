//! `stepcast trace summarize`: where the time of each rank went.

use clap::Args;
use std::process::ExitCode;
use stepcast::analysis::{ProfileOptions, profile};
use stepcast::report::trace::{self, Measured};
use stepcast::trace::Recording;

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, output, style};

/// Arguments of `trace summarize`.
#[derive(Debug, Args)]
pub(crate) struct SummarizeArgs {
    #[command(flatten)]
    files: TraceFiles,
    /// Name the kernels that take most time
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
}

/// Summarises and prints.
pub(crate) fn run(args: &SummarizeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let recordings = args.files.open(Keep::default(), context)?;
    let measured: Vec<Measured> = recordings.iter().map(|one| measure(one, args.top)).collect();
    let mut text = Vec::new();
    match context.format {
        Format::Text => trace::write_text(&measured, args.top, style::of(context), &mut text)?,
        Format::Json => trace::write_json(&measured, &mut text)?,
        Format::Csv => trace::write_csv(&measured, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(recording: &Recording, kernels: usize) -> Measured<'_> {
    let said = recording.communications.iter();
    let operations = said.filter_map(|it| Some((it.span, it.kind?))).collect();
    let profile = profile(&recording.timeline, &ProfileOptions { kernels, operations });
    Measured { recording, profile }
}
