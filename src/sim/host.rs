//! The host thread of a rank.

use super::run::Engine;
use super::state::{Host, Queued};
use crate::program::{Action, Launch, Step};
use crate::timeline::Call;
use crate::units::{Instant, Seconds};

impl<'a> Engine<'a> {
    /// Lets the host of a rank go on until it blocks or is done. It may run ahead of the clock:
    /// what it does next depends on nothing that is still to happen.
    pub(super) fn advance_host(&mut self, rank: usize) {
        self.ranks[rank].host = Host::Running;
        let program = self.program;
        let steps = &program.roles[self.ranks[rank].role].steps;
        while let Some(step) = steps.get(self.ranks[rank].next_step) {
            match step {
                Step::Launch(launch) => {
                    if self.queue_is_full(rank) {
                        self.ranks[rank].host = Host::QueueFull;
                        return;
                    }
                    self.ranks[rank].next_step += 1;
                    self.launch(rank, launch);
                }
                Step::Host { label, time } => {
                    self.ranks[rank].next_step += 1;
                    if self.machine.host.is_some() && *time > Seconds::ZERO {
                        let start = self.ranks[rank].host_time;
                        self.ranks[rank].host_time = start + *time;
                        self.recorder.host(rank, label, None, start, start + *time);
                    }
                }
                Step::Synchronize { label, event } => {
                    let state = &mut self.ranks[rank];
                    let recorded = state.events[event.0 as usize];
                    if recorded == Instant::NEVER {
                        state.host = Host::Synchronizing(*event);
                        return;
                    }
                    state.next_step += 1;
                    if recorded > state.host_time {
                        let start = std::mem::replace(&mut state.host_time, recorded);
                        let call = Some(Call::SynchronizeEvent);
                        self.recorder.host(rank, label, call, start, recorded);
                    }
                }
            }
        }
        self.ranks[rank].host = Host::Done;
    }

    fn queue_is_full(&self, rank: usize) -> bool {
        let depth = self.machine.host.map_or(u32::MAX, |host| host.queue_depth.max(1));
        self.ranks[rank].outstanding >= depth
    }

    fn launch(&mut self, rank: usize, launch: &'a Launch) {
        let (cost, launches) = self.launch_cost(launch);
        let state = &mut self.ranks[rank];
        let host_start = state.host_time;
        let mut launched = Instant::START;
        if let Some(host) = self.machine.host {
            state.host_time = host_start + cost;
            // A block may start once its first launch is through.
            let first = if launches > 1 { cost / f64::from(launches) } else { cost };
            launched = host_start + first + host.launch_latency;
        }
        state.outstanding += launches;
        let host_end = state.host_time;
        let host_span = self.recorder.host_launch(rank, launch.action, host_start, host_end);
        self.ranks[rank].streams[launch.stream as usize].queue.push_back(Queued {
            launch,
            host_start,
            host_span,
            launched,
        });
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

    /// Launches that left the queue at an instant; a host that waited for room goes on.
    pub(super) fn leave_queue(&mut self, rank: usize, launches: u32, at: Instant) {
        let state = &mut self.ranks[rank];
        state.outstanding -= launches;
        if state.host == Host::QueueFull && !self.queue_is_full(rank) {
            let state = &mut self.ranks[rank];
            if at > state.host_time {
                state.host_time = at;
            }
            self.advance_host(rank);
        }
    }
}
