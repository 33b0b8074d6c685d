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
    /// A kernel (or a block) on a stream of a rank ends; streams by their [`Stream::index`].
    ComputeEnd { rank: u32, stream: u16 },
    /// The clock has come to where a host thread is.
    HostTurn { rank: u32, thread: u16 },
    /// Communication begins to move data.
    CommunicationStart { activity: u32 },
    /// Communication ends.
    CommunicationEnd { activity: u32 },
}

/// What a host thread of a rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It launches.
    Running,
    /// It launches next, when the clock has come to it.
    Ahead,
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

/// A host thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostThread {
    pub(super) next_step: usize,
    pub(super) doing: Host,
    /// How far it has come.
    pub(super) time: Instant,
}

impl HostThread {
    const START: Self = Self { next_step: 0, doing: Host::Running, time: Instant::START };
}

/// A kernel or a block on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) stream: Stream,
    pub(super) start: Instant,
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

/// The place of a stream from which on streams share a bit of [`RankState::waiting`].
pub(super) const LAST_BIT: usize = 63;

/// A rank.
#[derive(Debug)]
pub(super) struct RankState<'a> {
    pub(super) role: usize,
    /// Host threads, the main one first.
    pub(super) threads: Vec<HostThread>,
    /// Launches on streams that have not started.
    pub(super) outstanding: u32,
    /// Streams by their [`Stream::index`], as many as were launched on.
    pub(super) streams: Vec<StreamState<'a>>,
    /// Streams whose first launch waits for an event: a bit each, and the last bit for all streams
    /// from [`LAST_BIT`] on.
    pub(super) waiting: u64,
    /// Host threads that wait for an event or for room in the launch queue.
    pub(super) blocked: u32,
    /// When each event was recorded; `NEVER` when it was not yet.
    pub(super) events: Vec<Instant>,
    /// Kernels and blocks that have begun, in the order in which they did; one a stream at most.
    pub(super) running: Vec<Running>,
    /// Communication that moves data on this rank now.
    pub(super) active: Vec<u32>,
    pub(super) memory: MemoryLog,
}

impl RankState<'_> {
    pub(super) fn new(role: usize, event_count: u32, thread_count: usize) -> Self {
        Self {
            role,
            threads: vec![HostThread::START; thread_count],
            outstanding: 0,
            streams: (0..Stream::COUNT).map(|_| StreamState::default()).collect(),
            waiting: 0,
            blocked: 0,
            events: vec![Instant::NEVER; event_count as usize],
            running: Vec::new(),
            active: Vec::new(),
            memory: MemoryLog::default(),
        }
    }

    /// Makes room for a stream.
    #[cold]
    pub(super) fn add_streams(&mut self, index: usize) {
        assert!(index <= usize::from(u16::MAX), "a rank has at most 65,536 streams");
        self.streams.resize_with(index + 1, StreamState::default);
    }
}
