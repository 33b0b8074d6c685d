//! The command line: one file a subcommand. Nothing is computed here.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::spec::DataSources;

mod calibrate;
mod check;
mod compare;
mod data;
pub(crate) mod diagnostics;
mod import;
pub(crate) mod input;
mod list;
pub(crate) mod output;
mod progress;
mod schema;
mod simulate;
mod style;
mod trace;
mod validate;

/// Simulates a training step of a large language model on a cluster.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Folder of your own models, GPUs, clusters and stacks; repeatable, the first wins
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// Form of the output
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Print no warnings and no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours (`NO_COLOR` is honoured)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Predict a training step: time, memory, where the time goes
    Simulate(simulate::SimulateArgs),
    /// Compare scenarios or variations of one, best first
    Compare(compare::CompareArgs),
    /// Learn cost models from measured tables, or check them against tables
    Calibrate(calibrate::CalibrateArgs),
    /// Predict measured training runs and tell the errors by family
    Validate(validate::ValidateArgs),
    /// Read recorded traces and say where the time went
    Trace(trace::TraceArgs),
    /// Check a scenario without simulating it
    Check(check::CheckArgs),
    /// List what ships and what your own folders add
    List(list::ListArgs),
    /// Print the JSON Schema of scenarios, for editors
    Schema(schema::SchemaArgs),
    /// Turn another tool's file into one of stepcast's
    Import(import::ImportArgs),
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On terminals.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// For `anstream`.
    pub(crate) fn choice(self) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}

/// What every subcommand gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where named parts come from.
    pub(crate) sources: DataSources,
    /// Form of the output.
    pub(crate) format: Format,
    /// Whether warnings and progress stay away.
    pub(crate) quiet: bool,
    /// When to use colours.
    pub(crate) color: Color,
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = data::sources(&cli.data)?;
    let context = Context { sources, format: cli.format, quiet: cli.quiet, color: cli.color };
    match cli.command {
        Command::Simulate(args) => simulate::run(&args, &context),
        Command::Compare(args) => compare::run(&args, &context),
        Command::Calibrate(args) => calibrate::run(&args, &context),
        Command::Validate(args) => validate::run(&args, &context),
        Command::Trace(args) => trace::run(&args, &context),
        Command::Check(args) => check::run(&args, &context),
        Command::List(args) => list::run(&args, &context),
        Command::Schema(args) => schema::run(&args),
        Command::Import(args) => import::run(&args, &context),
    }
}
