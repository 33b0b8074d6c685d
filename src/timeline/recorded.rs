//! What recordings say beside spans: calls, frames, steps, collectives over ranks.

use super::{LabelId, SpanId};
use crate::units::Instant;

/// What a call of the host asked of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// A kernel, a graph of kernels, or a fill, put on a stream.
    Launch,
    /// A copy, put on a stream; the call may wait for it.
    Copy,
    /// Waiting for a stream.
    SynchronizeStream,
    /// Waiting for an event.
    SynchronizeEvent,
    /// Waiting for everything on the device.
    SynchronizeDevice,
    /// An event put on a stream.
    RecordEvent,
    /// A stream told to wait for an event.
    WaitEvent,
    /// Device memory asked for from the driver.
    Allocate,
    /// Device memory given back to the driver, which waits for the device.
    Free,
    /// Questions and settings.
    Other,
}

impl Call {
    /// All meanings.
    const ALL: [Self; 10] = [
        Self::Launch,
        Self::Copy,
        Self::SynchronizeStream,
        Self::SynchronizeEvent,
        Self::SynchronizeDevice,
        Self::RecordEvent,
        Self::WaitEvent,
        Self::Allocate,
        Self::Free,
        Self::Other,
    ];

    /// Name in exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Copy => "copy",
            Self::SynchronizeStream => "synchronize_stream",
            Self::SynchronizeEvent => "synchronize_event",
            Self::SynchronizeDevice => "synchronize_device",
            Self::RecordEvent => "record_event",
            Self::WaitEvent => "wait_event",
            Self::Allocate => "allocate",
            Self::Free => "free",
            Self::Other => "other",
        }
    }

    /// The meaning of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.name() == name)
    }

    /// Whether the call exists to wait for the device.
    pub const fn is_synchronization(self) -> bool {
        matches!(self, Self::SynchronizeStream | Self::SynchronizeEvent | Self::SynchronizeDevice)
    }

    /// Whether it puts work on a stream.
    pub const fn puts_work(self) -> bool {
        matches!(self, Self::Launch | Self::Copy)
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// An operator of the framework.
    Operator,
    /// A range that somebody named.
    Annotation,
    /// A function of Python, named `file.py(line): function`.
    Python,
}

/// What a frame is for, as the table of names says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FramePurpose {
    /// Data is loaded.
    DataLoading,
    /// It encloses others and does nothing itself: a step, an optimizer's update.
    Range,
    /// Code that users do not write: a library's.
    Library,
}

/// A stretch in which a host thread was inside of something; frames of a thread nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index into [`super::Timeline::processes`].
    pub process: u32,
    /// Number of the thread, as in [`super::Lane::Thread`].
    pub thread: u32,
    /// What it is.
    pub kind: FrameKind,
    /// What it is for, where its name says it.
    pub purpose: Option<FramePurpose>,
    /// Start.
    pub start: Instant,
    /// End.
    pub end: Instant,
    /// Its name.
    pub label: LabelId,
}

/// A training step of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepMark {
    /// Index into [`super::Timeline::processes`].
    pub process: u32,
    /// Number that the recording gives it.
    pub number: u64,
    /// Start, on the host.
    pub start: Instant,
    /// End, on the host.
    pub end: Instant,
}

/// One collective: the device spans of its members, one a process, in order of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Name of the communicator.
    pub communicator: LabelId,
    /// How many collectives of this communicator came before, from 0.
    pub sequence: u32,
    /// Device spans.
    pub members: Vec<SpanId>,
}
