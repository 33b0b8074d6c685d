//! `stepcast trace what-if`: edits of recordings, run again.

use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::explore::what_if::{CHANGES, Change, what_if};
use stepcast::report::what_if::{write_csv, write_json, write_text};
use stepcast::spec::{Problem, Problems};

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, diagnostics, output, simulate};

/// Arguments of `trace what-if`.
#[derive(Debug, Args)]
#[command(after_help = changes_help())]
pub(crate) struct WhatIfArgs {
    #[command(flatten)]
    files: TraceFiles,
    /// An edit of the recording; repeatable
    #[arg(long, required = true, value_name = "EDIT")]
    change: Vec<String>,
    /// Also write the edited timeline, for ui.perfetto.dev; compressed when it ends in .gz
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn changes_help() -> String {
    let lines = CHANGES.map(|(form, meaning)| format!("  {form}\n      {meaning}"));
    format!(
        "Edits:\n{}\n\nSELECT is any of name=PATTERN, class=CLASS, within=PATTERN (a frame around the \
         call), rank=N,\nstep=N, beside=communication|nothing; what fits all of them is selected.",
        lines.join("\n")
    )
}

/// Edits, runs and prints.
pub(crate) fn run(args: &WhatIfArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let mut changes = Vec::new();
    let mut problems = Vec::new();
    for text in &args.change {
        match Change::parse(text) {
            Ok(change) => changes.push((text.clone(), change)),
            Err(error) => problems.push(Problem::new("", error.to_string())),
        }
    }
    Problems::check(problems)?;
    let recording = args.files.open_job(Keep { frames: true, shapes: true }, context)?;
    let (answer, replay) = what_if(&recording, &changes, &context.sources)
        .map_err(|error| Problems::from(Problem::new("", error.to_string())))?;
    if let Some(path) = &args.trace {
        simulate::write_trace(path, &replay.timeline)?;
    }
    for warning in &answer.warnings {
        diagnostics::warn(context, warning);
    }
    let mut text = Vec::new();
    match context.format {
        Format::Text => write_text(&answer, &mut text)?,
        Format::Json => write_json(&answer, &mut text)?,
        Format::Csv => write_csv(&answer, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
