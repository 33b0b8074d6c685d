//! Streams of a rank, and kernels on the compute stream.

use super::run::Engine;
use super::state::{Host, Running};
use crate::program::{Action, EventId, Stream};
use crate::units::{Bytes, Instant, Seconds};

impl Engine<'_> {
    /// Starts the first launch of a stream if nothing holds it back.
    pub(super) fn try_start(&mut self, rank: usize, stream: Stream) {
        let state = &mut self.ranks[rank];
        let slot = &mut state.streams[stream as usize];
        if slot.busy || slot.waiting_for.is_some() {
            return;
        }
        let Some(&queued) = slot.queue.front() else { return };
        let mut ready = queued.launched.max(slot.free_at);
        for event in queued.launch.waits.iter() {
            let recorded = state.events[event.0 as usize];
            if recorded == Instant::NEVER {
                slot.waiting_for = Some(event);
                state.waiting |= 1 << stream as u16;
                return;
            }
            ready = ready.max(recorded);
        }
        slot.busy = true;
        match queued.launch.action {
            Action::Work(work) if self.program.work(work).kind.group().is_some() => {
                self.join_collective(rank, stream, work, ready);
            }
            Action::Send { .. } | Action::Receive { .. } => {
                self.join_transfer(rank, stream, queued.launch.action, ready);
            }
            Action::Work(_) | Action::Block(_) | Action::OpenBlock(_) => {
                assert!(stream == Stream::Compute, "kernels run on the compute stream");
                self.start_compute(rank, ready);
            }
        }
    }

    fn start_compute(&mut self, rank: usize, ready: Instant) {
        let queued = self.ranks[rank].streams[Stream::Compute as usize].queue[0];
        let memory = queued.launch.memory;
        let (time, slowdown_beside, not_before, peak) = match queued.launch.action {
            Action::Block(block) | Action::OpenBlock(block) => {
                let cost = &self.costs.blocks[block.0 as usize];
                let not_before = match self.machine.host {
                    Some(_) => queued.host_start + cost.joint,
                    None => Instant::START,
                };
                (cost.time, cost.slowdown, not_before, cost.activations_peak)
            }
            Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
                let cost = &self.costs.works[work.0 as usize];
                (cost.time, cost.slowdown, Instant::START, Bytes::ZERO)
            }
        };
        let state = &mut self.ranks[rank];
        state.memory.change(ready, memory.activations_taken + peak, memory.buffers_taken);
        let slowdown = if state.active.is_empty() { 1.0 } else { slowdown_beside };
        let end = (ready + time * slowdown).max(not_before);
        let ticket =
            self.agenda.schedule(end, super::state::Event::ComputeEnd { rank: rank as u32 });
        state.compute = Some(Running {
            start: ready,
            ready,
            remaining: time,
            updated: ready,
            slowdown,
            slowdown_beside,
            not_before,
            ticket,
        });
        // A kernel leaves the launch queue when it starts, a block when its last kernel does,
        // which is close to its end.
        if !matches!(queued.launch.action, Action::Block(_)) {
            self.leave_queue(rank, 1, ready);
        }
    }

    /// What runs on the compute stream goes at another rate since communication began or ended.
    pub(super) fn adjust_compute(&mut self, rank: usize) {
        let beside = !self.ranks[rank].active.is_empty();
        let now = self.now;
        let Some(running) = &mut self.ranks[rank].compute else { return };
        let slowdown = if beside { running.slowdown_beside } else { 1.0 };
        if slowdown == running.slowdown {
            return;
        }
        if now > running.updated {
            let done = (now - running.updated) / running.slowdown;
            running.remaining = (running.remaining - done).max(Seconds::ZERO);
            running.updated = now;
        }
        running.slowdown = slowdown;
        let end = (running.updated + running.remaining * slowdown).max(running.not_before);
        self.agenda.cancel(running.ticket);
        running.ticket = self
            .agenda
            .schedule(end.max(now), super::state::Event::ComputeEnd { rank: rank as u32 });
    }

    /// The work on the compute stream of a rank has ended.
    pub(super) fn compute_end(&mut self, rank: usize) {
        let now = self.now;
        let state = &mut self.ranks[rank];
        let running = state.compute.take();
        let slot = &mut state.streams[Stream::Compute as usize];
        let queued = slot.queue.pop_front();
        let (Some(running), Some(queued)) = (running, queued) else {
            unreachable!("an end without work on the compute stream")
        };
        slot.busy = false;
        slot.free_at = now;
        let memory = queued.launch.memory;
        let freed = match queued.launch.action {
            Action::Block(block) | Action::OpenBlock(block) => {
                let cost = &self.costs.blocks[block.0 as usize];
                cost.activations_peak - cost.activations_net
            }
            _ => Bytes::ZERO,
        };
        state.memory.change(
            now,
            Bytes::ZERO - memory.activations_freed - freed,
            Bytes::ZERO - memory.buffers_freed,
        );
        self.recorder.compute(self.program, rank, &queued, running.start, running.ready, now);
        if let Action::Block(block) = queued.launch.action {
            let launches = self.costs.blocks[block.0 as usize].launches;
            self.leave_queue(rank, launches, now);
        }
        // First what follows on the stream: communication that starts now runs beside it, whichever
        // rank of its group comes last.
        self.try_start(rank, Stream::Compute);
        self.record_event(rank, queued.launch.records);
    }

    /// Records an event now; whatever waited for it may go on.
    pub(super) fn record_event(&mut self, rank: usize, event: EventId) {
        if event == EventId::NONE {
            return;
        }
        self.ranks[rank].events[event.0 as usize] = self.now;
        let mut waiting = self.ranks[rank].waiting;
        while waiting != 0 {
            let bit = waiting.trailing_zeros();
            waiting &= waiting - 1;
            let slot = &mut self.ranks[rank].streams[bit as usize];
            if slot.waiting_for == Some(event) {
                slot.waiting_for = None;
                self.ranks[rank].waiting &= !(1 << bit);
                self.try_start(rank, Stream::ALL[bit as usize]);
            }
        }
        if self.ranks[rank].host == Host::Synchronizing(event) {
            self.advance_host(rank);
        }
    }
}
