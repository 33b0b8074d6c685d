//! `stepcast trace diagnose`: what slows recorded steps down.

use clap::Args;
use std::process::ExitCode;
use stepcast::explore::diagnose::diagnose;
use stepcast::report::diagnosis::{write_csv, write_json, write_text};

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, diagnostics, output};

/// Arguments of `trace diagnose`.
#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    #[command(flatten)]
    files: TraceFiles,
}

/// Diagnoses and prints.
pub(crate) fn run(args: &DiagnoseArgs, context: &Context) -> anyhow::Result<ExitCode> {
    // With shapes, as `what-if` has them: a cause is worth what its edit answers.
    let recording = args.files.open_job(Keep { frames: true, shapes: true }, context)?;
    let diagnosis = diagnose(&recording, &context.sources)?;
    for warning in &diagnosis.warnings {
        diagnostics::warn(context, warning);
    }
    let mut text = Vec::new();
    match context.format {
        Format::Text => write_text(&diagnosis, &mut text)?,
        Format::Json => write_json(&diagnosis, &mut text)?,
        Format::Csv => write_csv(&diagnosis, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
