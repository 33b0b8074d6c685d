//! What may slow a step down, and what speaks for it.

use serde::Serialize;

use super::frames::Frames;
use crate::timeline::{Frame, FrameKind, Span};
use crate::trace::Recording;
use crate::units::Instant;

/// What slows steps down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The device waits for the host to load data.
    DataLoading,
    /// A call makes the host wait for the device, and then the device for the host.
    HiddenSynchronization,
    /// The host cannot launch as fast as the device works.
    LaunchBound,
    /// The host is busy with something else than launching.
    HostWork,
    /// The driver is asked for memory, or given it back.
    MemoryPressure,
    /// Communication that nothing computes beside.
    ExposedCommunication,
    /// One rank keeps the others waiting.
    Straggler,
    /// Ranks have different amounts of work.
    Imbalance,
    /// Kernels so short that fusing them would pay.
    SmallKernels,
    /// Compute is slower beside communication.
    Contention,
}

impl Cause {
    /// Name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataLoading => "data loading",
            Self::HiddenSynchronization => "hidden synchronisation",
            Self::LaunchBound => "launch-bound",
            Self::HostWork => "host work",
            Self::MemoryPressure => "memory pressure",
            Self::ExposedCommunication => "exposed communication",
            Self::Straggler => "straggler",
            Self::Imbalance => "imbalance",
            Self::SmallKernels => "small kernels",
            Self::Contention => "contention under overlap",
        }
    }
}

/// Something in the recording that speaks for a cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What happened.
    pub what: String,
    /// On which rank.
    pub rank: u64,
    /// When, since the start of the recording.
    pub start_us: f64,
    /// For how long.
    pub duration_us: f64,
    /// Where in the program, where the trace has Python stacks.
    pub place: Option<String>,
}

/// A cause that may be at work.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspicion {
    pub(super) cause: Cause,
    /// In a sentence.
    pub(super) what: String,
    /// Time found, per rank.
    pub(super) found_us: f64,
    pub(super) evidence: Vec<Evidence>,
    /// The edit that would remove it.
    pub(super) change: String,
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
) -> Evidence {
    Evidence {
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
    // Functions of the framework itself tell less than the line that called them.
    let functions: Vec<&Frame> = frames
        .around(process, thread, at)
        .filter(|frame| frame.kind == FrameKind::Python)
        .collect();
    let name = |frame: &&Frame| recording.timeline.labels.name(frame.label);
    let is_own = |frame: &&&Frame| {
        let name = name(frame);
        name.contains(".py(") && !name.contains("torch/") && !name.contains("site-packages/")
    };
    functions.iter().find(is_own).or(functions.first()).map(|frame| name(frame).to_owned())
}

/// Name of a span, short enough for a sentence.
pub(super) fn short_name(recording: &Recording, span: &Span) -> String {
    let name = recording.timeline.labels.name(span.label);
    let bare = name.split(['(', '<']).next().unwrap_or(name).trim();
    bare.strip_prefix("void ").unwrap_or(bare).to_owned()
}
