//! What happened when: the one type for a simulated step and for a measured trace.
//!
//! Columns of spans on tracks, samples of memory, arrows between spans. Time is an integer
//! ([`Instant`]); labels are interned. Knows no plan and no cost model.

mod breakdown;
mod labels;
mod recorded;

pub use breakdown::{Breakdown, Traffic};
pub use labels::{LabelId, Labels};
pub use recorded::{Call, Frame, FrameKind, FramePurpose, Meeting, StepMark};

use crate::units::{Bytes, Instant};
use crate::work::{Axis, Class, Pass};

/// What a track of a rank shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The host thread that launches.
    Host,
    /// The compute stream.
    Compute,
    /// A communication stream along an axis; several of one axis are numbered.
    Communication(Axis, u8),
    /// A host thread of a recorded process, numbered in order of first sight.
    Thread(u32),
    /// A stream of a recorded device, numbered in order of first sight.
    Stream(u32),
}

impl Lane {
    /// Whether it shows the host.
    pub const fn is_host(self) -> bool {
        matches!(self, Self::Host | Self::Thread(_))
    }
}

/// Which forward or backward of the pipeline a span belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// Direction.
    pub pass: Pass,
    /// Micro-batch, from 0.
    pub micro_batch: u32,
    /// Model chunk of the stage, from 0.
    pub chunk: u32,
}

/// Index of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub u32);

/// A stretch of time in which a lane of a rank was busy with one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Index into [`Timeline::processes`].
    pub process: u32,
    /// Lane of that process.
    pub lane: Lane,
    /// Start of the work itself; for communication after the last member arrived.
    pub start: Instant,
    /// End.
    pub end: Instant,
    /// When this member was ready: waiting for others lies between `ready` and `start`.
    pub ready: Instant,
    /// When the host had launched it; equal to `ready` or earlier.
    pub launched: Instant,
    /// What it was, for people.
    pub label: LabelId,
    /// What it counts as.
    pub class: Class,
    /// What a host span asked of the device; `None` on devices and for other work of the host.
    pub call: Option<Call>,
    /// The forward or backward it belongs to, if any.
    pub task: Option<Task>,
    /// Bytes on the wire or in memory as the work counts them; zero when it has none.
    pub bytes: Bytes,
    /// Index into [`Timeline::breakdowns`] when the span stands for many kernels.
    pub breakdown: Option<u32>,
}

impl Span {
    /// The time in which it holds its lane. A kernel that communicates is on the device while it
    /// waits for the other members, everything else from its start.
    pub fn occupied(&self) -> (Instant, Instant) {
        match self.class {
            Class::Communication(_) => (self.ready.min(self.start), self.end),
            _ => (self.start, self.end),
        }
    }
}

/// One rank (or one device of a trace).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Rank in the job.
    pub rank: u64,
    /// Pipeline stage, where there is one.
    pub stage: Option<u64>,
    /// How many equal ranks it stands for.
    pub multiplicity: u64,
}

/// Memory in use on a rank from a point in time on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemorySample {
    /// Index into [`Timeline::processes`].
    pub process: u32,
    /// When.
    pub at: Instant,
    /// Bytes allocated from then on, static and dynamic.
    pub allocated: Bytes,
}

/// A causal arrow between two spans: a launch on the host and what it launched (`from` lies on
/// [`Lane::Host`]), or a send and its receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// Cause.
    pub from: SpanId,
    /// Effect.
    pub to: SpanId,
}

/// Everything that happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Ranks.
    pub processes: Vec<Process>,
    /// Spans, in the order in which they ended.
    pub spans: Vec<Span>,
    /// Memory over time, in order of time within a process.
    pub memory: Vec<MemorySample>,
    /// Launch to what it launched, where the host was recorded, and send to receive.
    pub arrows: Vec<Arrow>,
    /// Contents of spans that stand for many kernels.
    pub breakdowns: Vec<Breakdown>,
    /// What the host was inside of: operators, annotations, Python functions. Of recordings only;
    /// by process and thread, in order of their starts, the outer ones first.
    pub frames: Vec<Frame>,
    /// Training steps that a recording marks; none when it marks none.
    pub steps: Vec<StepMark>,
    /// Device spans of several processes that are one collective.
    pub meetings: Vec<Meeting>,
    /// Names of recorded threads and streams.
    pub lane_names: Vec<(u32, Lane, LabelId)>,
    /// Names.
    pub labels: Labels,
}

impl Timeline {
    /// The end of the last span.
    pub fn end(&self) -> Instant {
        self.spans.iter().map(|span| span.end).max().unwrap_or(Instant::START)
    }

    /// The spans of one lane of one process, in order of their ends.
    pub fn lane(&self, process: u32, lane: Lane) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.process == process && span.lane == lane)
    }
}
