//! The `stepcast` command.

use clap::Parser;
use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    let color = command.color;
    match cli::run(command) {
        Ok(code) => code,
        Err(error) => cli::diagnostics::report(&error, color),
    }
}
