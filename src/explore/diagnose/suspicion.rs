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
    /// What would remove it.
    pub(super) removal: Removal,
    /// What to try on the real system.
    pub(super) experiment: String,
}

/// What removes a cause from a recording.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Removal {
    /// An edit that removes it and nothing else: what that is worth is what the cause costs.
    Exact(String),
    /// An edit that removes more, so that the cause costs no more than the time found.
    Broader(String),
    /// Host time that is gone, `((process, thread), (from, to))` in picoseconds.
    HostTime(Vec<((u32, u32), (u64, u64))>),
}

impl Removal {
    /// The edit, where it can be written.
    pub(super) fn change(&self) -> Option<&str> {
        match self {
            Self::Exact(change) | Self::Broader(change) => Some(change),
            Self::HostTime(_) => None,
        }
    }

    /// What a cause costs for which so much time was found, and whose removal is worth so much.
    pub(super) fn cost_us(&self, found_us: f64, worth_us: Option<f64>) -> f64 {
        match (self, worth_us) {
            (_, None) => found_us,
            (Self::Broader(_), Some(worth)) => worth.min(found_us),
            (_, Some(worth)) => worth,
        }
    }
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

/// Name of a span for evidence: as above, and without namespaces that have no name.
pub(super) fn spoken_name(recording: &Recording, span: &Span) -> String {
    let name = recording.timeline.labels.name(span.label).replace("(anonymous namespace)::", "");
    let bare = name.strip_prefix("void ").unwrap_or(&name);
    bare.split(['(', '<']).next().unwrap_or(bare).trim().to_owned()
}
