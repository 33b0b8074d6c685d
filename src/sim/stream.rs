//! Streams of a rank, and kernels on them.

use super::run::Engine;
use super::state::{Event, Host, LAST_BIT, Running};
use crate::program::{Action, EventId, Stream};
use crate::units::{Bytes, Instant, Seconds};

impl Engine<'_> {
    /// Starts the first launch of a stream if nothing holds it back.
    pub(super) fn try_start(&mut self, rank: usize, stream: Stream) {
        let state = &mut self.ranks[rank];
        let index = stream.index();
        let slot = &mut state.streams[index];
        if slot.busy || slot.waiting_for.is_some() {
            return;
        }
        let Some(&queued) = slot.queue.front() else { return };
        let mut ready = queued.launched.max(slot.free_at);
        if self.machine.dispatch_gap > Seconds::ZERO && slot.free_at > Instant::START {
            ready = ready.max(slot.free_at + self.machine.dispatch_gap);
        }
        for event in queued.launch.waits.iter() {
            let recorded = state.events[event.0 as usize];
            if recorded == Instant::NEVER {
                slot.waiting_for = Some(event);
                state.waiting |= 1 << index.min(LAST_BIT);
                return;
            }
            ready = ready.max(recorded);
        }
        slot.busy = true;
        match queued.launch.action {
            Action::Work(work) => {
                let delay = self.costs.works[work.0 as usize].delay;
                if delay > Seconds::ZERO {
                    ready = ready + delay;
                }
                if self.program.work(work).kind.group().is_some() {
                    self.join_collective(rank, stream, work, ready);
                } else {
                    self.start_compute(rank, stream, ready);
                }
            }
            Action::Send { .. } | Action::Receive { .. } => {
                self.join_transfer(rank, stream, queued.launch.action, ready);
            }
            Action::Block(_) | Action::OpenBlock(_) => {
                assert!(stream == Stream::Compute, "blocks run on the compute stream");
                self.start_compute(rank, stream, ready);
            }
        }
    }

    fn start_compute(&mut self, rank: usize, stream: Stream, ready: Instant) {
        let queued = self.ranks[rank].streams[stream.index()].queue[0];
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
        let event = Event::ComputeEnd { rank: rank as u32, stream: stream.index() as u16 };
        let ticket = self.agenda.schedule(end, event);
        state.running.push(Running {
            stream,
            start: ready,
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

    /// Kernels of a rank go at another rate since communication began or ended.
    pub(super) fn adjust_compute(&mut self, rank: usize) {
        let beside = !self.ranks[rank].active.is_empty();
        let now = self.now;
        for running in &mut self.ranks[rank].running {
            let slowdown = if beside { running.slowdown_beside } else { 1.0 };
            if slowdown == running.slowdown {
                continue;
            }
            if now > running.updated {
                let done = (now - running.updated) / running.slowdown;
                running.remaining = (running.remaining - done).max(Seconds::ZERO);
                running.updated = now;
            }
            running.slowdown = slowdown;
            let end = (running.updated + running.remaining * slowdown).max(running.not_before);
            self.agenda.cancel(running.ticket);
            let stream = running.stream.index() as u16;
            let event = Event::ComputeEnd { rank: rank as u32, stream };
            running.ticket = self.agenda.schedule(end.max(now), event);
        }
    }

    /// The kernel on a stream of a rank has ended.
    pub(super) fn compute_end(&mut self, rank: usize, index: usize) {
        let now = self.now;
        let stream = Stream::at(index);
        let state = &mut self.ranks[rank];
        let running = state.running.iter().position(|running| running.stream == stream);
        let slot = &mut state.streams[index];
        let (Some(running), Some(queued)) = (running, slot.queue.pop_front()) else {
            unreachable!("an end without a kernel on its stream")
        };
        let running = state.running.swap_remove(running);
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
        self.recorder.compute(self.program, rank, &queued, [running.start, now]);
        if let Action::Block(block) = queued.launch.action {
            let launches = self.costs.blocks[block.0 as usize].launches;
            self.leave_queue(rank, launches, now);
        }
        // First what follows on the stream: communication that starts now runs beside it, whichever
        // rank of its group comes last.
        self.try_start(rank, stream);
        self.record_event(rank, queued.launch.records, now);
    }

    /// Records an event: now, or ahead of the clock by a host thread. Whatever waited for it may go
    /// on.
    pub(super) fn record_event(&mut self, rank: usize, event: EventId, at: Instant) {
        if event == EventId::NONE {
            return;
        }
        let state = &mut self.ranks[rank];
        state.events[event.0 as usize] = at;
        let mut waiting = state.waiting;
        while waiting != 0 {
            let bit = waiting.trailing_zeros() as usize;
            waiting &= waiting - 1;
            if bit == LAST_BIT {
                self.wake_last_streams(rank, event);
            } else if self.ranks[rank].streams[bit].waiting_for == Some(event) {
                self.ranks[rank].streams[bit].waiting_for = None;
                self.ranks[rank].waiting &= !(1 << bit);
                self.try_start(rank, Stream::at(bit));
            }
        }
        if self.ranks[rank].blocked > 0 {
            for thread in 0..self.ranks[rank].threads.len() {
                if self.ranks[rank].threads[thread].doing == Host::Synchronizing(event) {
                    self.ranks[rank].blocked -= 1;
                    self.advance_host(rank, thread);
                }
            }
        }
    }

    /// The streams that share a bit, of which some wait for events.
    fn wake_last_streams(&mut self, rank: usize, event: EventId) {
        self.ranks[rank].waiting &= !(1 << LAST_BIT);
        for index in LAST_BIT..self.ranks[rank].streams.len() {
            let state = &mut self.ranks[rank];
            if state.streams[index].waiting_for == Some(event) {
                state.streams[index].waiting_for = None;
                self.try_start(rank, Stream::at(index));
            } else if state.streams[index].waiting_for.is_some() {
                state.waiting |= 1 << LAST_BIT;
            }
        }
    }
}
