//! Progress of long work, on terminals.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};

use super::Context;

/// A bar of `count` steps, or a spinner where their number is not known; hidden where nobody looks,
/// and for a single step.
pub(crate) fn progress(count: Option<usize>, doing: &str, context: &Context) -> ProgressBar {
    let is_short = count.is_some_and(|count| count < 2);
    if context.quiet || is_short || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let count = count.map(|count| count as u64);
    let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::stderr());
    let template = match count {
        Some(_) => format!("{doing} {{pos}}/{{len}} {{bar:40}} {{eta}} left"),
        None => format!("{{spinner}} {doing}, {{pos}} done, {{elapsed}}: {{msg}}"),
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
