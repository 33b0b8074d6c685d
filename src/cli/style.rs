//! What the terminal can show.

use anstream::{AutoStream, ColorChoice};
use std::io;
use stepcast::report::Style;

use super::{Color, Context};

/// Colours as asked for or as stdout allows; the width that the shell exports, else 100 columns.
pub(super) fn of(context: &Context) -> Style {
    let color = match context.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
    };
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    Style { color, width: columns.filter(|&width| width >= 40).unwrap_or(Style::default().width) }
}
