//! Stretches of instructions that repeat.

use super::{Action, EventId, Launch, MemoryEffect, Stream, Waits, WorkId};
use crate::units::Bytes;

/// Index of a block in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// A stretch of launches that is closed: nothing in it starts before the compute stream reaches it
/// and its last launch, on the compute stream, starts after all the others have ended. So a block
/// seen from outside is one piece of work on the compute stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Name for traces.
    pub label: &'static str,
    /// Launches in order; their events are numbered within the block.
    pub launches: Vec<Launch>,
    /// Events that the launches record.
    pub event_count: u32,
}

/// Builds a block launch by launch, keeping track of what the next one must wait for.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    launches: Vec<Launch>,
    event_count: u32,
    /// Ends of work on other streams that the next compute launch must wait for.
    pending: Waits,
    /// The end of the last compute launch.
    compute_end: EventId,
    /// Memory of communication before the next compute launch.
    held: MemoryEffect,
    /// End of communication that only the end of the block waits for.
    background: EventId,
}

impl BlockBuilder {
    pub(super) fn new() -> Self {
        Self {
            launches: Vec::new(),
            event_count: 0,
            pending: Waits::NONE,
            compute_end: EventId::NONE,
            held: MemoryEffect::default(),
            background: EventId::NONE,
        }
    }

    fn event(&mut self) -> EventId {
        self.event_count += 1;
        EventId(self.event_count - 1)
    }

    fn push(
        &mut self,
        action: Action,
        stream: Stream,
        waits: Waits,
        memory: MemoryEffect,
    ) -> EventId {
        let records = self.event();
        self.launches.push(Launch { action, stream, waits, records, task: None, memory });
        records
    }

    /// A kernel (or an inner block) on the compute stream, after all that was joined.
    pub(super) fn compute(&mut self, action: Action, memory: MemoryEffect) {
        let waits = std::mem::replace(&mut self.pending, Waits::NONE);
        let memory = std::mem::take(&mut self.held).and(memory);
        self.compute_end = self.push(action, Stream::Compute, waits, memory);
    }

    /// Communication that starts when compute has got here, or when `after` has ended; compute
    /// goes on beside it until its end is joined.
    pub(super) fn fork(&mut self, work: WorkId, stream: Stream, after: EventId) -> EventId {
        let mut waits = self.pending;
        waits.add(self.compute_end);
        waits.add(after);
        self.push(Action::Work(work), stream, waits, MemoryEffect::default())
    }

    /// Communication that runs beside all compute from here to the end of the block.
    pub(super) fn background(&mut self, work: WorkId, stream: Stream) {
        self.background = self.fork(work, stream, EventId::NONE);
    }

    /// Memory that the next compute launch takes and gives back.
    pub(super) fn hold(&mut self, memory: MemoryEffect) {
        self.held = self.held.and(memory);
    }

    /// The next compute launch waits for an event.
    pub(super) fn join(&mut self, event: EventId) {
        self.pending.add(event);
    }

    /// Communication that compute waits for.
    pub(super) fn serial(&mut self, work: WorkId, stream: Stream) {
        let end = self.fork(work, stream, EventId::NONE);
        self.pending = Waits::on(&[end]);
    }

    /// The last launch takes some more that is kept past its end.
    pub(super) fn keep(&mut self, bytes: Bytes) {
        if let Some(launch) = self.launches.last_mut() {
            launch.memory.activations_taken += bytes;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// The finished block.
    ///
    /// # Panics
    ///
    /// When it is not closed, which would be a defect of the lowering.
    pub(super) fn finish(mut self, label: &'static str) -> Block {
        if let Some(last) = self.launches.last_mut().filter(|it| it.stream == Stream::Compute) {
            last.waits.add(self.background);
        }
        assert!(
            self.pending == Waits::NONE
                && self.held == MemoryEffect::default()
                && self.launches.last().is_some_and(|launch| launch.stream == Stream::Compute),
            "block `{label}` must end on the compute stream with everything joined"
        );
        Block { label, launches: self.launches, event_count: self.event_count }
    }
}
