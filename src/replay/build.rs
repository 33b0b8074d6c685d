//! From a recording to a program.

mod thread;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::causes::{Lateness, explain};
use super::handover::{Threads, handovers, threads};
use super::launches::Launches;
use super::pace::{GAP_MOST_PS, Pace};
use super::waits::{StreamWaits, stated};
use crate::plan::GroupKind;
use crate::program::{Group, GroupId, Program, RankEntry, Role, Step, Work, WorkId, WorkKind};
use crate::sim::{Costs, HostCosts, Machine, Ports, Record, WorkCost};
use crate::timeline::{Lane, SpanId};
use crate::trace::Recording;
use crate::units::{Bytes, Instant, Seconds};
use crate::work::{Class, Pass};
use thread::ThreadBuilder;

/// What an instruction of a host thread stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostWork {
    /// Time between two calls.
    Between,
    /// A call, or what is left of it after what it waited for.
    Call(SpanId),
    /// What a call waits for.
    Wait(SpanId),
    /// Order among host threads: hand-overs, and launches of several threads on one stream.
    Order,
}

/// Where an instruction of a host thread was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// What it stands for.
    pub work: HostWork,
    /// Number of the thread, as in `Lane::Thread`; `None` for work that no call launched.
    pub thread: Option<u32>,
    /// Start in the recording, in picoseconds.
    pub from: u64,
    /// End.
    pub to: u64,
}

/// A recording as a program, ready to be edited and run.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    /// What it was made of.
    pub recording: &'a Recording,
    /// A role and a rank for each process, in order of processes.
    pub program: Program,
    /// Recorded durations.
    pub costs: Costs,
    /// Latency of launches, gap between kernels, depth of the queue.
    pub machine: Machine,
    /// The device work behind each work of the program; `None` for joins of many waits.
    pub work_span: Vec<Option<SpanId>>,
    /// The work of each device span, by index of the span.
    pub span_work: Vec<Option<WorkId>>,
    /// Where each instruction was recorded: by role, host thread and index.
    pub places: Vec<Vec<Vec<HostPlace>>>,
    /// Work that started later than every known cause.
    pub late: Vec<Lateness>,
    /// Work that had to wait until work launched later made room on the device.
    pub held: Vec<Lateness>,
    /// Waits of streams that the recording states.
    pub stated_waits: u64,
    /// Waits of streams that were inferred from times.
    pub inferred_waits: u64,
    /// Calls whose target had to be inferred.
    pub guessed_synchronizations: u64,
    /// Hand-overs between host threads; recordings never state them.
    pub guessed_handovers: u64,
    /// Device work that no call in the recording launched.
    pub without_launch: u64,
}

impl Prepared<'_> {
    /// Adds a work that takes no time: launched in front of another one on its stream, it waits for
    /// events beyond those that one launch can name.
    pub fn add_join(&mut self) -> WorkId {
        let id = WorkId(self.program.works.len() as u32);
        self.program.works.push(join_work());
        self.costs.works.push(work_cost(Seconds::ZERO));
        self.work_span.push(None);
        id
    }
}

/// Everything that building a program looks at.
pub(super) struct Plan<'a> {
    pub(super) recording: &'a Recording,
    pub(super) launches: Launches,
    pub(super) waits: StreamWaits,
    pub(super) pace: Pace,
    /// Work that each call launched, in order of being put on streams.
    pub(super) of_call: BTreeMap<SpanId, Vec<u32>>,
    /// Number of each work among those of its process, which is its event.
    pub(super) event: Vec<u32>,
    pub(super) handovers: BTreeMap<SpanId, super::handover::Handover>,
    /// Copies that began only when the host had their data ready.
    pub(super) staged: BTreeSet<u32>,
}

/// The program of a recording.
pub fn prepare(recording: &Recording) -> Prepared<'_> {
    let launches = Launches::of(recording);
    let pace = Pace::of(recording, &launches);
    let mut waits = stated(recording, &launches);
    let explained = explain(recording, &launches, &pace, &mut waits);
    let threads = threads(recording);
    let handovers = handovers(recording, &threads);
    let guessed_handovers = handovers.len() as u64;
    let mut of_call: BTreeMap<SpanId, Vec<u32>> = BTreeMap::new();
    let mut event = Vec::with_capacity(launches.works.len());
    let mut counts = vec![0; recording.timeline.processes.len()];
    for (index, work) in (0..).zip(&launches.works) {
        if let Some(call) = work.call {
            of_call.entry(call).or_default().push(index);
        }
        let count: &mut u32 = &mut counts[work.process as usize];
        event.push(*count);
        *count += 1;
    }
    let mut prepared = Prepared {
        recording,
        program: works(recording, &launches),
        costs: Costs { works: work_costs(recording, &launches, &waits), blocks: Vec::new() },
        machine: machine(&pace),
        work_span: launches.works.iter().map(|work| Some(work.span)).collect(),
        span_work: launches.of_span.iter().map(|work| work.map(WorkId)).collect(),
        places: Vec::new(),
        late: explained.late,
        held: explained.held,
        stated_waits: waits.known,
        inferred_waits: explained.inferred,
        guessed_synchronizations: 0,
        guessed_handovers,
        without_launch: launches.works.iter().filter(|work| work.call.is_none()).count() as u64,
    };
    let plan = Plan {
        recording,
        launches,
        waits,
        pace,
        of_call,
        event,
        handovers,
        staged: explained.staged,
    };
    hold_back(&mut prepared);
    for (process, &count) in (0..).zip(&counts) {
        role(&plan, &threads, process, count, &mut prepared);
    }
    prepared
}

/// Starts that nothing explains stay as late as they were: what held them back, unknown as it is,
/// is taken to hold in counterfactuals too. Less than a gap between kernels can be is in the mean
/// gap, which delays all alike.
fn hold_back(prepared: &mut Prepared<'_>) {
    let late = prepared.late.iter().chain(&prepared.held);
    for late in late.filter(|late| late.late_ps > GAP_MOST_PS) {
        if let Some(work) = prepared.span_work[late.span.0 as usize] {
            prepared.costs.works[work.0 as usize].delay = seconds(late.late_ps);
        }
    }
}

impl Prepared<'_> {
    /// The same with every start that nothing explains at the latest of its known causes.
    #[must_use]
    pub fn punctual(&self) -> Self {
        let mut punctual = self.clone();
        for work in self.late.iter().filter_map(|late| self.span_work[late.span.0 as usize]) {
            punctual.costs.works[work.0 as usize].delay = Seconds::ZERO;
        }
        punctual
    }
}

fn machine(pace: &Pace) -> Machine {
    let launch_latency = seconds(pace.latency());
    Machine {
        host: Some(HostCosts { launch_latency, queue_depth: pace.queue_depth }),
        communication_slowdown: 1.0,
        dispatch_gap: seconds(pace.gap),
        record: Record::Everything,
    }
}

/// Picoseconds as seconds.
pub(super) fn seconds(ps: u64) -> Seconds {
    Instant::from_ps(ps).seconds()
}

/// The program without instructions: works, ranks, and a group for each collective.
fn works(recording: &Recording, launches: &Launches) -> Program {
    let timeline = &recording.timeline;
    let mut meeting_of: BTreeMap<SpanId, u32> = BTreeMap::new();
    let mut groups = Vec::new();
    for meeting in timeline.meetings.iter().filter(|meeting| meeting.members.len() > 1) {
        for &member in &meeting.members {
            meeting_of.insert(member, groups.len() as u32);
        }
        let process = |member: &SpanId| timeline.spans[member.0 as usize].process as usize;
        let members = meeting.members.iter().map(process).collect();
        groups.push(Group { kind: GroupKind::Recorded, members });
    }
    let work = |work: &super::launches::Work| {
        let span = &timeline.spans[work.span.0 as usize];
        let kind = match meeting_of.get(&work.span) {
            Some(&group) => WorkKind::Meeting { group: GroupId(group), bytes: span.bytes },
            None => WorkKind::Recorded { class: span.class, bytes: span.bytes },
        };
        let label = Cow::Owned(timeline.labels.name(span.label).to_owned());
        Work { label, pass: Pass::Forward, kind, launches: 1 }
    };
    let ranks = timeline.processes.iter().enumerate().map(|(role, process)| RankEntry {
        rank: process.rank,
        role,
        multiplicity: 1,
        groups: Vec::new(),
    });
    Program {
        works: launches.works.iter().map(work).collect(),
        blocks: Vec::new(),
        roles: Vec::new(),
        ranks: ranks.collect(),
        groups,
    }
}

/// Recorded durations: of collectives from the arrival of the last member on, of work that the
/// clock shows to begin before what it waits for has ended, from there on.
fn work_costs(recording: &Recording, launches: &Launches, waits: &StreamWaits) -> Vec<WorkCost> {
    let spans = &recording.timeline.spans;
    let mut times: Vec<u64> = launches
        .works
        .iter()
        .zip(launches.before.iter().zip(&waits.of))
        .map(|(work, (before, waits))| {
            let causes = before.iter().chain(waits);
            let free = causes.map(|&cause| launches.works[cause as usize].end).max().unwrap_or(0);
            work.end.saturating_sub(work.start.max(free))
        })
        .collect();
    for meeting in recording.timeline.meetings.iter().filter(|it| it.members.len() > 1) {
        let arrival = |member: &SpanId| spans[member.0 as usize].ready.ps();
        let last = meeting.members.iter().map(arrival).max().unwrap_or(0);
        for member in &meeting.members {
            if let Some(work) = launches.of_span[member.0 as usize] {
                times[work as usize] = spans[member.0 as usize].end.ps().saturating_sub(last);
            }
        }
    }
    times.into_iter().map(|time| work_cost(seconds(time))).collect()
}

/// Work that takes a time whatever runs beside it.
fn work_cost(time: Seconds) -> WorkCost {
    WorkCost {
        time,
        launch: Seconds::ZERO,
        delay: Seconds::ZERO,
        slowdown: 1.0,
        ports: Ports::default(),
    }
}

/// The work that joins several waits: it takes no time.
fn join_work() -> Work {
    let kind = WorkKind::Recorded { class: Class::OtherKernel, bytes: Bytes::ZERO };
    Work { label: Cow::Borrowed("join of waits"), pass: Pass::Forward, kind, launches: 1 }
}

/// The instructions of a process.
fn role<'a>(
    plan: &Plan<'a>,
    threads: &Threads,
    process: u32,
    work_count: u32,
    prepared: &mut Prepared<'a>,
) {
    let mut next_event = work_count;
    let mut signals = thread::Signals::of(plan, process, &mut next_event);
    let mut all: Vec<Vec<Step>> = Vec::new();
    let mut places = Vec::new();
    let mut host_lanes = Vec::new();
    for (&(_, number), calls) in threads.range((process, 0)..=(process, u32::MAX)) {
        let mut builder = ThreadBuilder::new(plan, &mut signals, prepared, Some(number));
        for &call in calls {
            builder.call(call);
        }
        let (steps, of_steps) = builder.finish();
        all.push(steps);
        places.push(of_steps);
        host_lanes.push(Lane::Thread(number));
    }
    let orphans: Vec<u32> = (0..plan.launches.works.len() as u32)
        .filter(|&work| {
            let work = &plan.launches.works[work as usize];
            work.process == process && work.call.is_none()
        })
        .collect();
    if !orphans.is_empty() {
        let mut builder = ThreadBuilder::new(plan, &mut signals, prepared, None);
        for work in orphans {
            builder.orphan(work);
        }
        let (steps, of_steps) = builder.finish();
        all.push(steps);
        places.push(of_steps);
        let after = host_lanes.len() as u32;
        host_lanes.push(Lane::Thread(after.max(threads.len() as u32)));
    }
    let mut all = all.into_iter();
    prepared.program.roles.push(Role {
        stage: u64::from(process),
        steps: all.next().unwrap_or_default(),
        other_threads: all.collect(),
        host_lanes,
        event_count: next_event,
        ..Role::default()
    });
    prepared.places.push(places);
}
