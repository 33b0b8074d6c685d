//! Replays beside what was recorded.

use serde::Serialize;
use std::io::{self, Write};

use super::json::write_versioned;
use super::table::{percent, table};
use crate::analysis::{Guesses, RankReplay, StepReplay};

/// A replay to tell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Retold<'a> {
    /// By process.
    pub ranks: &'a [RankReplay],
    /// What had to be guessed.
    pub guesses: Guesses,
    /// Why it should be trusted less.
    pub warnings: &'a [String],
}

/// Writes tables for people.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(replay: &Retold<'_>, out: &mut dyn Write) -> io::Result<()> {
    let header = [
        "rank",
        "step",
        "measured",
        "replayed",
        "error",
        "unexplained start",
        "share",
        "without it",
    ];
    writeln!(out, "replayed against recorded, first work of the device to its last:\n")?;
    let row = |rank: &RankReplay, step: &StepReplay, name: String| {
        vec![
            rank.rank.to_string(),
            name,
            format!("{:.0} us", step.measured_us),
            format!("{:.0} us", step.replayed_us),
            format!("{:+.2} %", 100.0 * step.error),
            format!("{:.0} us", step.unexplained_us),
            percent(step.unexplained_fraction),
            step.punctual_us.map_or_else(String::new, |time| format!("{time:.0} us")),
        ]
    };
    let mut rows = Vec::new();
    for rank in replay.ranks {
        rows.push(row(rank, &rank.window, "all".to_owned()));
        rows.extend(rank.steps.iter().map(|step| row(rank, step, step.number.to_string())));
    }
    write!(out, "{}", table(&header, &rows, 2))?;
    let guesses = replay.guesses;
    writeln!(
        out,
        "\nguessed: {} of {} waits among streams, {} waits for room behind work launched later, what \
         {} calls waited for, {} hand-overs among host threads; {} pieces of device work have no \
         launch",
        guesses.inferred_waits,
        guesses.inferred_waits + guesses.stated_waits,
        guesses.waits_for_room,
        guesses.synchronizations,
        guesses.handovers,
        guesses.without_launch
    )
}

/// Writes one JSON document; `docs/trace-json.md` says what its keys are.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(replay: &Retold<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_versioned(replay, out)
}

/// Writes a row a rank and step; step 0 is the whole window.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(replay: &Retold<'_>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Row {
        rank: u64,
        step: u64,
        measured_us: f64,
        replayed_us: f64,
        error: f64,
        punctual_us: Option<f64>,
        unexplained_us: f64,
        unexplained_fraction: f64,
    }
    let mut writer = csv::Writer::from_writer(out);
    for rank in replay.ranks {
        for step in std::iter::once(&rank.window).chain(&rank.steps) {
            writer.serialize(Row {
                rank: rank.rank,
                step: step.number,
                measured_us: step.measured_us,
                replayed_us: step.replayed_us,
                error: step.error,
                punctual_us: step.punctual_us,
                unexplained_us: step.unexplained_us,
                unexplained_fraction: step.unexplained_fraction,
            })?;
        }
    }
    writer.flush()
}
