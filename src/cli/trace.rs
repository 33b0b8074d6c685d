//! `stepcast trace`: what recorded traces say.

use clap::{Args, Subcommand};
use std::process::ExitCode;

use super::Context;

mod diff;
pub(crate) mod open;
mod replay;
mod summarize;

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
    /// Say what accounts for the difference of two timelines
    Diff(diff::DiffArgs),
    /// Run recordings on the engine, and say how well that explains them
    Replay(replay::ReplayArgs),
}

/// Runs the subcommand.
pub(crate) fn run(args: &TraceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        TraceCommand::Summarize(args) => summarize::run(args, context),
        TraceCommand::Diff(args) => diff::run(args, context),
        TraceCommand::Replay(args) => replay::run(args, context),
    }
}
