//! The host threads of a rank.

use super::record::Origin;
use super::run::Engine;
use super::state::{Event, Host, Queued};
use crate::program::{Action, EventId, Launch, Step};
use crate::timeline::Call;
use crate::units::{Instant, Seconds};

impl<'a> Engine<'a> {
    /// Lets a host thread go on until it blocks or is done.
    ///
    /// The only thread of a rank may run ahead of the clock: what it does next depends on nothing
    /// that is still to happen. Of several threads each launches when the clock has come to it, so
    /// that launches get onto a stream in the order of their times.
    pub(super) fn advance_host(&mut self, rank: usize, thread: usize) {
        self.ranks[rank].threads[thread].doing = Host::Running;
        let role = &self.program.roles[self.ranks[rank].role];
        let runs_ahead = role.other_threads.is_empty();
        let steps = role.thread(thread);
        loop {
            let state = &mut self.ranks[rank].threads[thread];
            let index = state.next_step;
            let Some(step) = steps.get(index) else { break };
            match step {
                Step::Launch(launch) => {
                    if !runs_ahead && state.time > self.now {
                        state.doing = Host::Ahead;
                        let turn = Event::HostTurn { rank: rank as u32, thread: thread as u16 };
                        self.agenda.schedule(state.time, turn);
                        return;
                    }
                    if self.queue_is_full(rank) {
                        self.ranks[rank].threads[thread].doing = Host::QueueFull;
                        self.ranks[rank].blocked += 1;
                        return;
                    }
                    self.ranks[rank].threads[thread].next_step += 1;
                    self.launch(rank, thread, launch);
                }
                Step::Host { label, time } => {
                    state.next_step += 1;
                    if self.machine.host.is_some() {
                        let start = state.time;
                        state.time = start + *time;
                        let times = [start, state.time];
                        self.host_span(rank, (thread, index), (label, None), times);
                    }
                }
                Step::Synchronize { label, event } => {
                    if !self.synchronize(rank, thread, index, label, *event) {
                        return;
                    }
                }
                Step::Signal { event } => {
                    state.next_step += 1;
                    let at = state.time;
                    self.record_event(rank, *event, at);
                }
            }
        }
        self.ranks[rank].threads[thread].doing = Host::Done;
    }

    /// Whether an event is recorded, so that a host thread that waits for it goes on.
    fn synchronize(
        &mut self,
        rank: usize,
        thread: usize,
        index: usize,
        label: &'static str,
        event: EventId,
    ) -> bool {
        let state = &mut self.ranks[rank];
        let recorded = state.events[event.0 as usize];
        if recorded == Instant::NEVER {
            state.threads[thread].doing = Host::Synchronizing(event);
            state.blocked += 1;
            return false;
        }
        let state = &mut state.threads[thread];
        state.next_step += 1;
        let start = state.time;
        state.time = start.max(recorded);
        let times = [start, state.time];
        self.host_span(rank, (thread, index), (label, Some(Call::SynchronizeEvent)), times);
        true
    }

    /// Writes down what a host thread did.
    fn host_span(
        &mut self,
        rank: usize,
        (thread, index): (usize, usize),
        what: (&'static str, Option<Call>),
        times: [Instant; 2],
    ) {
        let origin = Origin::Step { thread: thread as u16, step: index as u32 };
        self.recorder.host(self.program, rank, origin, what, times);
    }

    fn queue_is_full(&self, rank: usize) -> bool {
        let depth = self.machine.host.map_or(u32::MAX, |host| host.queue_depth.max(1));
        self.ranks[rank].outstanding >= depth
    }

    fn launch(&mut self, rank: usize, thread: usize, launch: &'a Launch) {
        let (cost, launches) = self.launch_cost(launch);
        let state = &mut self.ranks[rank];
        let step = state.threads[thread].next_step as u32 - 1;
        let host_start = state.threads[thread].time;
        let mut host_end = host_start;
        let mut launched = Instant::START;
        if let Some(host) = self.machine.host {
            host_end = host_start + cost;
            state.threads[thread].time = host_end;
            // A block may start once its first launch is through.
            let first = if launches > 1 { cost / f64::from(launches) } else { cost };
            launched = host_start + first + host.launch_latency;
        }
        state.outstanding += launches;
        let origin = Origin::Step { thread: thread as u16, step };
        let times = [host_start, host_end];
        let action = launch.action;
        let host_span = self.recorder.host_launch(self.program, rank, origin, action, times);
        let index = launch.stream.index();
        let state = &mut self.ranks[rank];
        if index >= state.streams.len() {
            state.add_streams(index);
        }
        let queued = Queued { launch, host_start, host_span, launched };
        state.streams[index].queue.push_back(queued);
        self.try_start(rank, launch.stream);
    }

    /// Host time of a launch, and launches in it.
    pub(super) fn launch_cost(&self, launch: &Launch) -> (Seconds, u32) {
        match launch.action {
            Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
                (self.costs.works[work.0 as usize].launch, 1)
            }
            Action::Block(block) | Action::OpenBlock(block) => {
                let cost = &self.costs.blocks[block.0 as usize];
                (cost.host, cost.launches)
            }
        }
    }

    /// Launches that left the queue at an instant; a host thread that waited for room goes on.
    pub(super) fn leave_queue(&mut self, rank: usize, launches: u32, at: Instant) {
        self.ranks[rank].outstanding -= launches;
        if self.ranks[rank].blocked == 0 {
            return;
        }
        for thread in 0..self.ranks[rank].threads.len() {
            let state = &self.ranks[rank].threads[thread];
            if state.doing == Host::QueueFull && !self.queue_is_full(rank) {
                self.ranks[rank].blocked -= 1;
                let state = &mut self.ranks[rank].threads[thread];
                state.time = state.time.max(at);
                self.advance_host(rank, thread);
            }
        }
    }
}
