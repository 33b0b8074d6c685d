//! `stepcast trace`: what recorded traces say.

use clap::{Args, Subcommand};
use std::process::ExitCode;

use super::Context;

mod diagnose;
mod diff;
pub(crate) mod open;
mod replay;
mod summarize;
mod what_if;

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    /// Say where the time of each rank went
    Summarize(summarize::SummarizeArgs),
    /// Say what slows recorded steps down, and what it would be worth to remove it
    Diagnose(diagnose::DiagnoseArgs),
    /// Say what accounts for the difference of two timelines
    Diff(diff::DiffArgs),
    /// Run recordings on the engine, and say how well that explains them
    Replay(replay::ReplayArgs),
    /// Edit recordings and run them again
    WhatIf(what_if::WhatIfArgs),
}

/// Runs the subcommand.
pub(crate) fn run(args: &TraceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        TraceCommand::Summarize(args) => summarize::run(args, context),
        TraceCommand::Diagnose(args) => diagnose::run(args, context),
        TraceCommand::Diff(args) => diff::run(args, context),
        TraceCommand::Replay(args) => replay::run(args, context),
        TraceCommand::WhatIf(args) => what_if::run(args, context),
    }
}
