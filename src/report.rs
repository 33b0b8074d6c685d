//! Predictions for people and programs; nothing is computed here but layout.

mod chart;
pub mod comparison;
mod csv;
pub mod diagnosis;
pub mod json;
mod perfetto;
pub mod replay;
mod table;
mod text;
pub mod trace;
pub mod validation;
pub mod what_if;

use std::io::{self, Write};

use crate::analysis::Summary;
use crate::spec::Scenario;
use crate::timeline::Timeline;

pub use csv::Csv;
pub use json::Json;
pub use perfetto::{Perfetto, write_trace};
pub use table::{columns, percent};
pub use text::{CONVENTION, Text};

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The question.
    pub scenario: &'a Scenario,
    /// The answer in numbers.
    pub summary: &'a Summary,
    /// What happened when.
    pub timeline: &'a Timeline,
}

/// How a report may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are wanted.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Style {
    /// No colours, 100 columns.
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// A form in which a prediction is written.
pub trait Report: Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// Writes it.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    fn write(&self, subject: &Subject, style: Style, out: &mut dyn Write) -> io::Result<()>;
}

/// All of them.
pub static REPORTS: [&dyn Report; 4] = [&Text, &Json, &Csv, &Perfetto];

/// The report of a name.
pub fn report(name: &str) -> Option<&'static dyn Report> {
    REPORTS.into_iter().find(|report| report.name() == name)
}
