//! `stepcast trace replay`: recordings run on the engine.

use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::replay::{judge, prepare};
use stepcast::report::replay::{Retold, write_csv, write_json, write_text};

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, diagnostics, output, simulate};

/// Arguments of `trace replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    files: TraceFiles,
    /// Also write the replayed timeline, for ui.perfetto.dev; compressed when it ends in .gz
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Replays and prints.
pub(crate) fn run(args: &ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let recording = args.files.open_job(Keep::default(), context)?;
    let replayed = judge(&prepare(&recording))?;
    if let Some(path) = &args.trace {
        simulate::write_trace(path, &replayed.timeline)?;
    }
    for warning in &replayed.warnings {
        diagnostics::warn(context, warning);
    }
    let retold =
        Retold { ranks: &replayed.ranks, guesses: replayed.guesses, warnings: &replayed.warnings };
    let mut text = Vec::new();
    match context.format {
        Format::Text => write_text(&retold, &mut text)?,
        Format::Json => write_json(&retold, &mut text)?,
        Format::Csv => write_csv(&retold, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
