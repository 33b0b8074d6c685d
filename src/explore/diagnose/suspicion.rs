//! What may slow a step down, and what speaks for it.

use super::frames::Frames;
use crate::analysis::{Clue, SlowdownCause};
use crate::timeline::{Frame, FrameKind, FramePurpose, Span};
use crate::trace::Recording;
use crate::units::Instant;

/// A cause that may be at work.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspicion {
    pub(super) cause: SlowdownCause,
    /// In a sentence.
    pub(super) what: String,
    /// Time found, per rank.
    pub(super) found_us: f64,
    pub(super) evidence: Vec<Clue>,
    /// The edit that would remove it, where there is one.
    pub(super) change: Option<String>,
    /// What to try on the real system.
    pub(super) experiment: String,
}

/// A value of an edit that means this text and nothing else.
pub(super) fn exactly(text: &str) -> String {
    format!("'^{}$'", regex::escape(text).replace('\'', "."))
}

/// A stretch as evidence.
pub(super) fn evidence(
    recording: &Recording,
    process: u32,
    (start, end): (Instant, Instant),
    what: String,
    place: Option<String>,
) -> Clue {
    Clue {
        what,
        rank: recording.timeline.processes[process as usize].rank,
        start_us: us(start.ps()),
        duration_us: us(end.ps().saturating_sub(start.ps())),
        place,
    }
}

/// Picoseconds as microseconds.
pub(super) fn us(ps: u64) -> f64 {
    ps as f64 * 1e-6
}

/// Where in the program a point in time is: the innermost Python function.
pub(super) fn python_line(
    recording: &Recording,
    frames: &Frames<'_>,
    (process, thread): (u32, u32),
    at: Instant,
) -> Option<String> {
    // Functions of a library tell less than the line that called them.
    let functions: Vec<&Frame> = frames
        .around(process, thread, at)
        .filter(|frame| frame.kind == FrameKind::Python)
        .collect();
    let name = |frame: &&Frame| recording.timeline.labels.name(frame.label);
    let is_own = |frame: &&&Frame| {
        name(frame).contains(".py(") && frame.purpose != Some(FramePurpose::Library)
    };
    functions.iter().find(is_own).or(functions.first()).map(|frame| name(frame).to_owned())
}

/// Name of a span, short enough for a sentence.
pub(super) fn short_name(recording: &Recording, span: &Span) -> String {
    let name = recording.timeline.labels.name(span.label);
    let bare = name.split(['(', '<']).next().unwrap_or(name).trim();
    bare.strip_prefix("void ").unwrap_or(bare).to_owned()
}
