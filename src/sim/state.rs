//! State of the simulated ranks.

use std::collections::VecDeque;

use super::memory::MemoryLog;
use crate::des::Ticket;
use crate::program::{EventId, Launch, Stream};
use crate::timeline::SpanId;
use crate::units::{Instant, Seconds};

/// What happens at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Work on the compute stream of a rank ends.
    ComputeEnd { rank: u32 },
    /// Communication begins to move data.
    CommunicationStart { activity: u32 },
    /// Communication ends.
    CommunicationEnd { activity: u32 },
}

/// What the host thread of a rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It launches.
    Running,
    /// It waits for an event.
    Synchronizing(EventId),
    /// It waits for room in the launch queue.
    QueueFull,
    /// It has launched everything.
    Done,
}

/// A launch that waits on its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued<'a> {
    pub(super) launch: &'a Launch,
    /// When the host began with it.
    pub(super) host_start: Instant,
    /// The host's span of the launch, where the host is recorded.
    pub(super) host_span: Option<SpanId>,
    /// When it may start on an idle device.
    pub(super) launched: Instant,
}

/// A stream of a rank.
#[derive(Debug, Default)]
pub(super) struct StreamState<'a> {
    /// Launches in order; the first one is running when `busy`.
    pub(super) queue: VecDeque<Queued<'a>>,
    pub(super) busy: bool,
    /// Event that the first launch is known to wait for.
    pub(super) waiting_for: Option<EventId>,
    /// End of the last work on the stream.
    pub(super) free_at: Instant,
}

/// Work on the compute stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) start: Instant,
    pub(super) ready: Instant,
    /// Work left at `updated`, in seconds of undisturbed time.
    pub(super) remaining: Seconds,
    pub(super) updated: Instant,
    /// Time per undisturbed time now.
    pub(super) slowdown: f64,
    /// Slowdown beside communication.
    pub(super) slowdown_beside: f64,
    /// The host lets it end no sooner.
    pub(super) not_before: Instant,
    pub(super) ticket: Ticket,
}

/// A rank.
#[derive(Debug)]
pub(super) struct RankState<'a> {
    pub(super) role: usize,
    pub(super) next_step: usize,
    pub(super) host: Host,
    pub(super) host_time: Instant,
    /// Launches on streams that have not started.
    pub(super) outstanding: u32,
    pub(super) streams: [StreamState<'a>; Stream::COUNT],
    /// Streams whose first launch waits for an event, a bit each.
    pub(super) waiting: u16,
    /// When each event was recorded; `NEVER` when it was not yet.
    pub(super) events: Vec<Instant>,
    pub(super) compute: Option<Running>,
    /// Communication that moves data on this rank now.
    pub(super) active: Vec<u32>,
    pub(super) memory: MemoryLog,
}

impl RankState<'_> {
    pub(super) fn new(role: usize, event_count: u32) -> Self {
        Self {
            role,
            next_step: 0,
            host: Host::Running,
            host_time: Instant::START,
            outstanding: 0,
            streams: std::array::from_fn(|_| StreamState::default()),
            waiting: 0,
            events: vec![Instant::NEVER; event_count as usize],
            compute: None,
            active: Vec::new(),
            memory: MemoryLog::default(),
        }
    }
}
