//! Errors and warnings on stderr, and what they mean for the exit code.

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::process::ExitCode;
use stepcast::SimulateError;
use stepcast::spec::Problems;

use super::{Color, Context};

/// The run failed.
const FAILED: u8 = 1;
/// The command line or an input is wrong.
const WRONG_INPUT: u8 = 2;

/// Prints an error and gives its exit code. A closed pipe downstream is no error.
pub(crate) fn report(error: &anyhow::Error, color: Color) -> ExitCode {
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let mut stderr = AutoStream::new(io::stderr(), color.choice()).lock();
    // Where even stderr is closed there is nobody left to tell.
    if let Some(problems) = error.downcast_ref::<Problems>() {
        let _ = writeln!(stderr, "{}", problems.render(true));
        return ExitCode::from(WRONG_INPUT);
    }
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(stderr, "{style}error{style:#}: {error:#}");
    let is_input = matches!(error.downcast_ref(), Some(SimulateError::Fit(_)));
    ExitCode::from(if is_input { WRONG_INPUT } else { FAILED })
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a remark on stderr, unless `--quiet`.
pub(crate) fn note(context: &Context, label: &str, text: &str) {
    if context.quiet {
        return;
    }
    let mut stderr = AutoStream::new(io::stderr(), context.color.choice()).lock();
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    let _ = writeln!(stderr, "{style}{label}{style:#}: {text}");
}

/// Prints a warning on stderr, unless `--quiet`.
pub(crate) fn warn(context: &Context, text: &str) {
    note(context, "warning", text);
}
