//! The instructions of one host thread.

use std::collections::BTreeMap;

use super::{HostPlace, HostWork, Plan, Prepared, seconds};
use crate::program::{Action, EventId, Launch, MemoryEffect, Step, Stream, Waits, WorkId};
use crate::replay::waits::{copy_blocks, host_wait};
use crate::timeline::SpanId;

/// Launch calls of more than this many typical ones, with the queue deep, waited for room in it.
const BACK_PRESSURE: u64 = 10;
/// Share of the queue from which on it is deep.
const DEEP_FRACTION: f64 = 0.85;

/// Events by which host threads order themselves.
#[derive(Debug)]
pub(super) struct Signals {
    /// Recorded when a work is on its stream, by work: the next on the stream is of another thread.
    put: BTreeMap<u32, EventId>,
    /// Works that must not be put on their stream before another one is.
    after: BTreeMap<u32, EventId>,
    /// Recorded after a call, by call: another thread goes on from there.
    handover: BTreeMap<SpanId, EventId>,
    /// Work put on streams and not begun when each work was put, by work.
    depth: BTreeMap<u32, u32>,
}

impl Signals {
    /// Those of a process; takes event numbers from `next` on.
    pub(super) fn of(plan: &Plan<'_>, process: u32, next: &mut u32) -> Self {
        let mut take = || {
            *next += 1;
            EventId(*next - 1)
        };
        let thread = |work: u32| {
            let call = plan.launches.works[work as usize].call?;
            Some(plan.recording.timeline.spans[call.0 as usize].lane)
        };
        let (mut put, mut after) = (BTreeMap::new(), BTreeMap::new());
        for (_, works) in plan.launches.streams_of(process) {
            for pair in works.windows(2).filter(|pair| thread(pair[0]) != thread(pair[1])) {
                let event = take();
                put.insert(pair[0], event);
                after.insert(pair[1], event);
            }
        }
        let mut handover = BTreeMap::new();
        for found in plan.handovers.values() {
            if plan.recording.timeline.spans[found.from.0 as usize].process == process {
                handover.entry(found.from).or_insert_with(&mut take);
            }
        }
        Self { put, after, handover, depth: depths(plan, process) }
    }
}

/// How much was waiting on the device when each work of a process was put there.
fn depths(plan: &Plan<'_>, process: u32) -> BTreeMap<u32, u32> {
    let of_process = (0..).zip(&plan.launches.works).filter(|(_, work)| work.process == process);
    let works: Vec<(u32, u64, u64)> =
        of_process.map(|(index, work): (u32, _)| (index, work.put, work.start)).collect();
    let mut starts: Vec<u64> = works.iter().map(|work| work.2).collect();
    starts.sort_unstable();
    let depth = |(before, &(index, put, _)): (usize, &(u32, u64, u64))| {
        let begun = starts.partition_point(|&start| start <= put);
        (index, before.saturating_sub(begun) as u32)
    };
    works.iter().enumerate().map(depth).collect()
}

/// Builds the instructions of a thread, call by call.
pub(super) struct ThreadBuilder<'b, 'a> {
    plan: &'b Plan<'a>,
    signals: &'b mut Signals,
    prepared: &'b mut Prepared<'a>,
    thread: Option<u32>,
    /// Up to where the thread's time is accounted for, in picoseconds.
    cursor: u64,
    steps: Vec<Step>,
    places: Vec<HostPlace>,
}

impl<'b, 'a> ThreadBuilder<'b, 'a> {
    pub(super) fn new(
        plan: &'b Plan<'a>,
        signals: &'b mut Signals,
        prepared: &'b mut Prepared<'a>,
        thread: Option<u32>,
    ) -> Self {
        let (steps, places) = (Vec::new(), Vec::new());
        Self { plan, signals, prepared, thread, cursor: 0, steps, places }
    }

    pub(super) fn finish(self) -> (Vec<Step>, Vec<HostPlace>) {
        (self.steps, self.places)
    }

    fn push(&mut self, step: Step, work: HostWork, from: u64, to: u64) {
        self.steps.push(step);
        self.places.push(HostPlace { work, thread: self.thread, from, to });
    }

    fn host(&mut self, label: &'static str, work: HostWork, from: u64, to: u64) {
        if to > from {
            self.push(Step::Host { label, time: seconds(to - from) }, work, from, to);
        }
    }

    fn synchronize(&mut self, event: EventId, work: HostWork, from: u64, to: u64) {
        self.push(Step::Synchronize { label: "wait", event }, work, from, to);
    }

    /// A call of the thread.
    pub(super) fn call(&mut self, call: SpanId) {
        let span = &self.plan.recording.timeline.spans[call.0 as usize];
        let (start, end) = (span.start.ps(), span.end.ps());
        self.until(call, start);
        // A call within a call takes no time of its own.
        let start = start.max(self.cursor);
        let end = end.max(start);
        match self.plan.of_call.get(&call) {
            Some(works) => self.launch(call, &works.clone(), start, end),
            None => self.other(call, start, end),
        }
        self.cursor = end;
        if let Some(&event) = self.signals.handover.get(&call) {
            self.push(Step::Signal { event }, HostWork::Order, end, end);
        }
    }

    /// Time before a call: its own, or what is left of it after another thread handed over.
    fn until(&mut self, call: SpanId, start: u64) {
        let mut from = self.cursor;
        if let Some(handover) = self.plan.handovers.get(&call)
            && let Some(&event) = self.signals.handover.get(&handover.from)
        {
            let handed = self.plan.recording.timeline.spans[handover.from.0 as usize].end.ps();
            self.synchronize(event, HostWork::Order, from, handed);
            from = from.max(handed);
        }
        self.host("between calls", HostWork::Between, from, start);
    }

    /// A call that put work on streams.
    fn launch(&mut self, call: SpanId, works: &[u32], start: u64, end: u64) {
        let plan = self.plan;
        let span = &plan.recording.timeline.spans[call.0 as usize];
        let devices = works.iter().map(|&work| plan.launches.works[work as usize]);
        let waited_until =
            devices.clone().filter(|work| copy_blocks(span, work)).map(|work| work.end).max();
        let depth = works.first().and_then(|work| self.signals.depth.get(work)).copied();
        let room = f64::from(plan.pace.queue_depth) * DEEP_FRACTION;
        let is_pressed = end - start > BACK_PRESSURE * plan.pace.typical
            && depth.is_some_and(|depth| f64::from(depth) > room);
        let own = if is_pressed { (end - start).min(plan.pace.typical) } else { end - start };
        let before = devices.clone().map(|work| plan.pace.before_submission(span, &work)).min();
        // Data that the host puts into memory of its own first is submitted when it is there.
        let is_staged = works.iter().any(|work| plan.staged.contains(work));
        let staged = devices.map(|work| work.start.saturating_sub(start)).min();
        let staged = staged.filter(|_| is_staged).map(|it| it.saturating_sub(plan.pace.latency()));
        let before = staged.or(before).unwrap_or(0).min(own);
        for (index, &work) in works.iter().enumerate() {
            self.put(work, call, if index == 0 { before } else { 0 });
        }
        let submitted = start + before;
        match waited_until {
            Some(work_end) => {
                for &work in works {
                    let event = EventId(self.plan.event[work as usize]);
                    self.synchronize(event, HostWork::Wait(call), submitted, work_end);
                }
                self.host("copy", HostWork::Call(call), work_end.max(submitted), end);
            }
            None => self.host("launch", HostWork::Call(call), submitted, start + own),
        }
    }

    /// Puts a work on its stream, after what it waits for.
    fn put(&mut self, work: u32, call: SpanId, launch_cost: u64) {
        if let Some(&event) = self.signals.after.get(&work) {
            let at = self.plan.launches.works[work as usize].put;
            self.synchronize(event, HostWork::Order, at, at);
        }
        let plan = self.plan;
        let device = plan.launches.works[work as usize];
        let stream = Stream::recorded(device.stream);
        let waits: Vec<EventId> = plan.waits.of[work as usize]
            .iter()
            .map(|&waited| EventId(plan.event[waited as usize]))
            .collect();
        let mut chunks = waits.chunks(Waits::NONE.0.len());
        let last = chunks.next_back().unwrap_or(&[]);
        let place = HostWork::Call(call);
        for waits in chunks {
            let id = self.prepared.add_join();
            let launch = launch(id, stream, waits, EventId::NONE);
            self.push(Step::Launch(launch), place, device.put, device.put);
        }
        self.prepared.costs.works[work as usize].launch = seconds(launch_cost);
        let records = EventId(plan.event[work as usize]);
        let launch = launch(WorkId(work), stream, last, records);
        self.push(Step::Launch(launch), place, device.put, device.put + launch_cost);
        if let Some(&event) = self.signals.put.get(&work) {
            self.push(Step::Signal { event }, HostWork::Order, device.put, device.put);
        }
    }

    /// A call that put nothing on a stream: it may wait.
    fn other(&mut self, call: SpanId, start: u64, end: u64) {
        let Some(wait) = host_wait(self.plan.recording, &self.plan.launches, call) else {
            self.host("call", HostWork::Call(call), start, end);
            return;
        };
        self.prepared.guessed_synchronizations += u64::from(wait.is_guess);
        let mut waited_until = start;
        for work in wait.works {
            let work_end = self.plan.launches.works[work as usize].end;
            waited_until = waited_until.max(work_end.min(end));
            let event = EventId(self.plan.event[work as usize]);
            self.synchronize(event, HostWork::Wait(call), start, work_end);
        }
        self.host("synchronize", HostWork::Call(call), waited_until, end);
    }

    /// Work that no call in the recording launched.
    pub(super) fn orphan(&mut self, work: u32) {
        let device = self.plan.launches.works[work as usize];
        let at = device.put.saturating_sub(self.plan.pace.latency());
        self.host("launched by nobody", HostWork::Between, self.cursor, at);
        self.cursor = self.cursor.max(at);
        self.put(work, device.span, 0);
    }
}

fn launch(work: WorkId, stream: Stream, waits: &[EventId], records: EventId) -> Launch {
    Launch {
        action: Action::Work(work),
        stream,
        waits: Waits::on(waits),
        records,
        task: None,
        memory: MemoryEffect::default(),
    }
}
