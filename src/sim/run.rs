//! Running a program from its first launch to its last end.

use rustc_hash::FxHashMap;

use super::communication::{Activity, ActivityKey};
use super::links::Links;
use super::record::{Origin, Recorder};
use super::state::{Event, Host, RankState};
use super::{Costs, HostCosts, MemoryPeak, SimError};
use crate::des::Agenda;
use crate::program::{Program, Stream};
use crate::timeline::Timeline;
use crate::units::{Instant, Seconds};

/// How the machine behaves beside what each instruction costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Launching; `None` for a host that has launched everything long before.
    pub host: Option<HostCosts>,
    /// Time of communication beside compute over time alone.
    pub communication_slowdown: f64,
    /// Least time between the end of work on a stream and the start of the next on it; zero for a
    /// lowered plan, whose kernels' times contain it.
    pub dispatch_gap: Seconds,
    /// What is written down on the way.
    pub record: Record,
}

/// What a run writes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// The end of the step and the peaks of memory only.
    Nothing,
    /// What ran on the devices.
    Devices,
    /// That, and every launch on the hosts.
    DevicesAndHosts,
    /// That, host steps that took no time too, and which work or step each span comes from.
    Everything,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What happened when.
    pub timeline: Timeline,
    /// What each span comes from, with [`Record::Everything`]; else empty.
    pub origins: Vec<Origin>,
    /// When the last thing ended, on host or device.
    pub end: Instant,
    /// Memory of each simulated rank at its peak.
    pub memory: Vec<MemoryPeak>,
    /// Events that the engine went through.
    pub event_count: u64,
}

/// Runs a program.
///
/// # Errors
///
/// [`SimError::Deadlock`] when ranks wait for what never comes.
///
/// # Panics
///
/// When the program has blocks whose cost is not given; expand it first.
pub fn run(program: &Program, costs: &Costs, machine: &Machine) -> Result<Outcome, SimError> {
    let mut engine = Engine::new(program, costs, machine);
    for rank in 0..program.ranks.len() {
        for thread in 0..engine.ranks[rank].threads.len() {
            engine.advance_host(rank, thread);
        }
    }
    while let Some((at, event)) = engine.agenda.pop() {
        engine.now = at;
        engine.event_count += 1;
        match event {
            Event::ComputeEnd { rank, stream } => {
                engine.compute_end(rank as usize, usize::from(stream));
            }
            Event::HostTurn { rank, thread } => {
                engine.advance_host(rank as usize, usize::from(thread));
            }
            Event::CommunicationStart { activity } => engine.communication_start(activity),
            Event::CommunicationEnd { activity } => engine.communication_end(activity),
        }
    }
    engine.finish()
}

/// A run under way.
pub(super) struct Engine<'a> {
    pub(super) program: &'a Program,
    pub(super) costs: &'a Costs,
    pub(super) machine: &'a Machine,
    pub(super) now: Instant,
    pub(super) agenda: Agenda<Event>,
    pub(super) ranks: Vec<RankState<'a>>,
    pub(super) activities: Vec<Activity>,
    /// Communication that some members have not reached yet.
    pub(super) gathering: FxHashMap<ActivityKey, u32>,
    /// Collectives that each group has begun, by member: `[rank][group of the rank]`.
    pub(super) sequence: Vec<Vec<u32>>,
    pub(super) links: Links,
    pub(super) recorder: Recorder,
    pub(super) event_count: u64,
}

impl<'a> Engine<'a> {
    fn new(program: &'a Program, costs: &'a Costs, machine: &'a Machine) -> Self {
        let ranks = program
            .ranks
            .iter()
            .map(|entry| {
                let role = &program.roles[entry.role];
                RankState::new(entry.role, role.event_count, role.threads().count())
            })
            .collect();
        Self {
            program,
            costs,
            machine,
            now: Instant::START,
            agenda: Agenda::new(),
            ranks,
            activities: Vec::new(),
            gathering: FxHashMap::default(),
            sequence: program.ranks.iter().map(|entry| vec![0; entry.groups.len()]).collect(),
            links: Links::new(program.ranks.len()),
            recorder: Recorder::new(program, costs, machine.record),
            event_count: 0,
        }
    }

    fn finish(mut self) -> Result<Outcome, SimError> {
        let stuck = |rank: &RankState<'_>| {
            rank.threads.iter().any(|thread| thread.doing != Host::Done)
                || rank.streams.iter().any(|stream| !stream.queue.is_empty())
        };
        if self.ranks.iter().any(stuck) {
            return Err(SimError::Deadlock { at: self.now.seconds(), waiting: self.who_waits() });
        }
        let host_end =
            self.ranks.iter().flat_map(|rank| rank.threads.iter().map(|thread| thread.time)).max();
        let device_end = self
            .ranks
            .iter()
            .flat_map(|rank| rank.streams.iter().map(|stream| stream.free_at))
            .max();
        let end = host_end.max(device_end).unwrap_or(Instant::START);
        let (mut timeline, origins) = self.recorder.finish();
        let mut memory = Vec::with_capacity(self.ranks.len());
        for (index, rank) in self.ranks.drain(..).enumerate() {
            let held = &self.program.roles[rank.role].memory;
            let samples = Some(&mut timeline.memory);
            memory.push(rank.memory.finish(held, index as u32, samples));
        }
        Ok(Outcome { timeline, origins, end, memory, event_count: self.event_count })
    }

    /// For each rank that is stuck, what it waits for.
    fn who_waits(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, rank) in self.ranks.iter().enumerate() {
            let name = self.program.ranks[index].rank;
            let before = lines.len();
            for (place, stream) in rank.streams.iter().enumerate() {
                let Some(queued) = stream.queue.front() else { continue };
                let what = self.recorder.label_of(self.program, queued.launch.action);
                if stream.busy {
                    let others = self.missing_members(index, Stream::at(place));
                    lines.push(format!("rank {name} waits in `{what}` for {others}"));
                } else if let Some(event) = stream.waiting_for {
                    let cause = self.recorder.who_records(self.program, rank.role, event);
                    lines.push(format!("rank {name} cannot start `{what}` before `{cause}`"));
                }
            }
            // A host waits for a device, which is the cause, unless it waits for another host.
            if lines.len() == before {
                for (number, thread) in rank.threads.iter().enumerate() {
                    let Host::Synchronizing(event) = thread.doing else { continue };
                    let cause = self.recorder.who_records(self.program, rank.role, event);
                    lines.push(format!(
                        "host thread {number} of rank {name} cannot go on before `{cause}`"
                    ));
                }
            }
        }
        lines
    }
}
