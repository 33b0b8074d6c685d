//! Why nothing ran on a device, or on a stream of it.
//!
//! An idle stretch ends with some work. Until the call that launched it had returned, the host was
//! late, by what the thread that launched it did at each moment, the first of these that holds: it
//! loaded data; it was in a call for memory; it waited for the device or a copy; it made no call
//! for over a millisecond, busy with something else than launching; else it was on its way to the
//! launch. That way is told apart: where the thread had been waiting when the device ran dry, it
//! had to launch again behind that; where not, the step is launch-bound. While the thread does
//! nothing that is recorded, the one counts that launched the work before: forward and backward
//! are launched by different threads that wait for each other.
//!
//! What lies behind the launch is latency where the launch was late, and waiting on the device
//! where it was not: for other streams, for a copy engine, or in a queue.

mod threads;

use serde::Serialize;

use super::{Work, works};
use crate::timeline::{Call, Lane, Span, SpanId, Timeline};
use crate::units::{Instant, Picoseconds};
use threads::{Doing, Thread, Threads, threads};

/// A host that makes no call for longer than this does something else than launch, in picoseconds
/// (1 ms): a hundred times what an operator takes to launch its kernel.
pub(super) const HOST_WORK_LEAST: u64 = 1_000_000_000;

/// Why nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The host was on its way to the launch.
    Launch,
    /// The launch was late and on its way to the device.
    Latency,
    /// The host waited for the device.
    Synchronization,
    /// The host had waited when the device ran dry, and was on its way to the launch.
    AfterSynchronization,
    /// The host was in a call for memory.
    Allocation,
    /// The host loaded data.
    DataLoading,
    /// The host made no call for long.
    HostWork,
    /// The work had been launched in time, and waited on the device.
    Device,
    /// No call is known to have launched the work.
    Unknown,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 9] = [
        Self::Launch,
        Self::Latency,
        Self::Synchronization,
        Self::AfterSynchronization,
        Self::Allocation,
        Self::DataLoading,
        Self::HostWork,
        Self::Device,
        Self::Unknown,
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "host was late to launch",
            Self::Latency => "launched late, had not begun",
            Self::Synchronization => "host waited for the device",
            Self::AfterSynchronization => "host launched again after waiting",
            Self::Allocation => "host allocated memory",
            Self::DataLoading => "host loaded data",
            Self::HostWork => "host did something else",
            Self::Device => "launched, waited on the device",
            Self::Unknown => "launch unknown",
        }
    }
}

/// Idle time of a device or stream by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdleTime {
    /// The host was on its way to the launch of the next work: launch-bound.
    #[serde(rename = "launch_bound_us")]
    pub launch: Picoseconds,
    /// The launch was late, and the work had not begun yet.
    #[serde(rename = "latency_us")]
    pub latency: Picoseconds,
    /// The host waited for the device, or for a copy, before it launched the next work.
    #[serde(rename = "synchronization_us")]
    pub synchronization: Picoseconds,
    /// The host had so waited when the device ran dry, and was on its way to the launch again.
    #[serde(rename = "after_synchronization_us")]
    pub after_synchronization: Picoseconds,
    /// The host was in a call for memory before it launched the next work.
    #[serde(rename = "allocation_us")]
    pub allocation: Picoseconds,
    /// The host loaded data before it launched the next work.
    #[serde(rename = "data_loading_us")]
    pub data_loading: Picoseconds,
    /// The host made no call for over a millisecond.
    #[serde(rename = "host_work_us")]
    pub host_work: Picoseconds,
    /// The next work had been launched in time.
    #[serde(rename = "device_us")]
    pub device: Picoseconds,
    /// No call is known to have launched the next work.
    #[serde(rename = "unknown_us")]
    pub unknown: Picoseconds,
}

/// A stretch of one cause in which nothing ran on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleStretch {
    /// Index of the process.
    pub process: u32,
    /// Start.
    pub start: Instant,
    /// End.
    pub end: Instant,
    /// Why.
    pub cause: Cause,
    /// The call in which the host was; behind waiting, the call in which it had been when the
    /// device ran dry.
    pub call: Option<SpanId>,
    /// The work that ends the idle time.
    pub next: SpanId,
    /// The thread whose doing it is, where one is known.
    pub thread: Option<Lane>,
    /// The moment at which to look up where in the program that thread was: the start of the call,
    /// else of the stretch.
    pub at: Instant,
}

impl IdleTime {
    /// Adds a stretch.
    pub(super) fn add(&mut self, stretch: &IdleStretch) {
        *self.part(stretch.cause) += Picoseconds::between(stretch.start, stretch.end);
    }

    fn part(&mut self, cause: Cause) -> &mut Picoseconds {
        match cause {
            Cause::Launch => &mut self.launch,
            Cause::Latency => &mut self.latency,
            Cause::Synchronization => &mut self.synchronization,
            Cause::AfterSynchronization => &mut self.after_synchronization,
            Cause::Allocation => &mut self.allocation,
            Cause::DataLoading => &mut self.data_loading,
            Cause::HostWork => &mut self.host_work,
            Cause::Device => &mut self.device,
            Cause::Unknown => &mut self.unknown,
        }
    }

    /// Time of a cause.
    pub fn time(mut self, cause: Cause) -> Picoseconds {
        *self.part(cause)
    }

    /// All of it.
    pub fn total(self) -> Picoseconds {
        Cause::ALL.into_iter().map(|cause| self.time(cause)).sum()
    }
}

/// Why nothing ran on the devices of a timeline, each between its first and its last work; in order
/// of processes and time.
pub fn idle_stretches(timeline: &Timeline) -> Vec<IdleStretch> {
    works(timeline).iter().flat_map(|work| Hosts::of(work).device_stretches()).collect()
}

/// What the host of a process did while its device was idle.
pub(in crate::analysis) struct Hosts<'a> {
    work: &'a Work<'a>,
    threads: Threads,
}

impl<'a> Hosts<'a> {
    pub(in crate::analysis) fn of(work: &'a Work<'a>) -> Self {
        Self { work, threads: threads(work) }
    }

    /// Idle stretches of the device between its first and its last work, in order.
    pub(in crate::analysis) fn device_stretches(&self) -> Vec<IdleStretch> {
        let mut stretches = Vec::new();
        let mut free_from: Option<u64> = None;
        let mut before = None;
        for (index, span) in &self.work.device {
            let (start, end) = span.occupied();
            if let Some(from) = free_from.filter(|&from| from < start.ps()) {
                self.explain((from, start.ps()), *index, before, &mut |one| stretches.push(one));
            }
            free_from = free_from.max(Some(end.ps()));
            before = self.work.call_of(*index).map(|call| call.lane).or(before);
        }
        stretches
    }

    /// The same for each stream on its own, whether or not others are busy.
    pub(super) fn stream_stretches(&self, mut add: impl FnMut(Lane, IdleStretch)) {
        let mut free_from = std::collections::BTreeMap::new();
        let mut before = None;
        for (index, span) in &self.work.device {
            let (start, end) = span.occupied();
            let free = free_from.entry(span.lane).or_insert(start.ps());
            if *free < start.ps() {
                let stretch = (*free, start.ps());
                self.explain(stretch, *index, before, &mut |one| add(span.lane, one));
            }
            *free = (*free).max(end.ps());
            before = self.work.call_of(*index).map(|call| call.lane).or(before);
        }
    }

    /// The idle stretch that ends with the work at `next`, cut where its cause changes. `before`
    /// is the thread that launched what came before.
    fn explain(
        &self,
        (from, to): (u64, u64),
        next: u32,
        before: Option<Lane>,
        add: &mut impl FnMut(IdleStretch),
    ) {
        let piece = |cause, start, end, call: Option<u32>, thread: Option<Lane>, at| IdleStretch {
            process: self.work.process,
            start: Instant::from_ps(start),
            end: Instant::from_ps(end),
            cause,
            call: call.map(SpanId),
            next: SpanId(next),
            thread,
            at: Instant::from_ps(at),
        };
        let Some(launch) = self.work.call_of(next) else {
            return add(piece(Cause::Unknown, from, to, None, None, from));
        };
        let launched = launched(launch);
        let host_end = launched.clamp(from, to);
        let lanes = [Some(launch.lane), before.filter(|lane| *lane != launch.lane)];
        let threads: Vec<(Lane, &Thread)> = lanes
            .into_iter()
            .flatten()
            .filter_map(|lane| Some((lane, self.threads.get(&lane)?)))
            .collect();
        // Where it was waiting when the device ran dry, and on which thread.
        let waited = threads
            .iter()
            .find_map(|(lane, thread)| thread.waits_in(from).map(|call| (call, *lane)));
        let on_the_way = |start, end, lane| match waited {
            Some((call, lane)) => {
                let at = self.work.timeline.spans[call as usize].start.ps();
                piece(Cause::AfterSynchronization, start, end, Some(call), Some(lane), at)
            }
            None => piece(Cause::Launch, start, end, None, Some(lane), start),
        };
        for (start, end, doing, lane) in segments(&threads, from, host_end) {
            let lane = lane.unwrap_or(launch.lane);
            let in_call = |cause, call: u32| {
                let at = self.work.timeline.spans[call as usize].start.ps();
                piece(cause, start, end, Some(call), Some(lane), at)
            };
            add(match doing {
                Doing::Loading => piece(Cause::DataLoading, start, end, None, Some(lane), start),
                Doing::Memory(call) => in_call(Cause::Allocation, call),
                Doing::Waiting(call) => in_call(Cause::Synchronization, call),
                Doing::Nothing if end - start > HOST_WORK_LEAST => {
                    let call = waited.map(|waited| waited.0);
                    piece(Cause::HostWork, start, end, call, Some(lane), start)
                }
                Doing::Busy | Doing::Nothing => on_the_way(start, end, lane),
            });
        }
        if host_end < to {
            let cause = if launched > from { Cause::Latency } else { Cause::Device };
            let call = waited.map(|waited| waited.0).filter(|_| launched > from);
            add(piece(cause, host_end, to, call, Some(launch.lane), launch.start.ps()));
        }
    }
}

/// When a call has launched: at its end; a copy that the host waits for is on its way from the
/// start of its call on.
fn launched(call: &Span) -> u64 {
    if call.call == Some(Call::Copy) { call.start.ps() } else { call.end.ps() }
}

/// What was done from moment to moment, by the first thread that did anything.
fn segments(
    threads: &[(Lane, &Thread)],
    from: u64,
    to: u64,
) -> Vec<(u64, u64, Doing, Option<Lane>)> {
    let mut borders = vec![from, to];
    for (_, thread) in threads {
        thread.borders(from, to, &mut borders);
    }
    borders.retain(|border| (from..=to).contains(border));
    borders.sort_unstable();
    borders.dedup();
    let mut segments: Vec<(u64, u64, Doing, Option<Lane>)> = Vec::new();
    for pair in borders.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let mut doings = threads.iter().map(|(lane, thread)| (thread.doing(start), Some(*lane)));
        let (doing, lane) =
            doings.find(|it| it.0 != Doing::Nothing).unwrap_or((Doing::Nothing, None));
        match segments.last_mut() {
            Some(last) if (last.2, last.3) == (doing, lane) => last.1 = end,
            _ => segments.push((start, end, doing, lane)),
        }
    }
    segments
}
