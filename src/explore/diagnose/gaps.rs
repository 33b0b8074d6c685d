//! Stretches in which a device does nothing, and what the host was doing meanwhile.

use std::collections::BTreeMap;

use super::frames::Frames;
use crate::timeline::{Call, FrameKind, Lane, Span, SpanId};
use crate::trace::Recording;
use crate::units::Instant;
use crate::work::Class;

/// Why a device did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Idle {
    /// What came next had been launched: it waited for another stream, or nobody knows for what.
    Waiting,
    /// The host was asking the driver for memory, or giving it back.
    Allocation,
    /// The host was inside of what loads data.
    DataLoading,
    /// The host had waited until the device was done, and only then went on.
    Synchronized,
    /// The host was launching, or on its way to the next launch.
    Launching,
    /// The host was outside of all operators for long.
    HostWork,
    /// No call in the trace launched what came next.
    Unknown,
}

/// A stretch in which a device does nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) process: u32,
    pub(super) start: Instant,
    pub(super) end: Instant,
    pub(super) cause: Idle,
    /// The call in which the host was, or had been: a synchronisation, an allocation.
    pub(super) call: Option<SpanId>,
    /// Where the host was at the start: thread, and the point in time to look its frames up at.
    pub(super) thread: Option<u32>,
    pub(super) at: Instant,
}

/// A host that calls no operator for longer than this does something else, in picoseconds (1 ms).
const HOST_WORK_LEAST: u64 = 1_000_000_000;

/// Names of frames in which data is loaded: PyTorch's own, and what training loops call theirs.
const DATA_LOADING: [&str; 7] = [
    "dataloader",
    "data_loader",
    "fetch_data",
    "load_batch",
    "get_batch",
    "next_batch",
    "data_fetch",
];

/// Whether a frame of this name loads data.
pub(in crate::explore) fn loads_data(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    DATA_LOADING.iter().any(|part| name.contains(part))
}

/// Calls of a thread that hold the host up, in order of their starts.
type Calls<'a> = BTreeMap<(u32, u32), Vec<(SpanId, &'a Span)>>;

/// All gaps of all processes, in order of process and time.
pub(super) fn gaps(recording: &Recording, frames: &Frames<'_>) -> Vec<Gap> {
    let timeline = &recording.timeline;
    let mut calls: Calls<'_> = BTreeMap::new();
    for (index, span) in (0..).zip(&timeline.spans) {
        if let Lane::Thread(thread) = span.lane
            && holds_up(recording, SpanId(index))
        {
            calls.entry((span.process, thread)).or_default().push((SpanId(index), span));
        }
    }
    let mut busy_until: BTreeMap<u32, Instant> = BTreeMap::new();
    let mut gaps = Vec::new();
    for (index, span) in (0..).zip(&timeline.spans).filter(|(_, span)| !span.lane.is_host()) {
        let (from, to) = span.occupied();
        let until = busy_until.entry(span.process).or_insert(from);
        if from > *until {
            let launched_by = recording.launched_by[index as usize];
            gaps.extend(explain(recording, frames, &calls, (*until, from), span, launched_by));
        }
        *until = (*until).max(to);
    }
    gaps.sort_by_key(|gap| (gap.process, gap.start));
    gaps
}

/// Whether a call may keep the host from going on: waiting, memory, a copy that is waited for.
fn holds_up(recording: &Recording, call: SpanId) -> bool {
    match recording.timeline.spans[call.0 as usize].call {
        Some(Call::Copy) => true,
        Some(Call::Allocate | Call::Free) => true,
        Some(kind) => kind.is_synchronization(),
        None => false,
    }
}

/// The gap before a span, cut where its cause changes: up to the launch by the host's doing, from
/// there on launch latency.
fn explain(
    recording: &Recording,
    frames: &Frames<'_>,
    calls: &Calls<'_>,
    (start, end): (Instant, Instant),
    next: &Span,
    launched_by: Option<SpanId>,
) -> Vec<Gap> {
    let whole = |cause| Gap {
        process: next.process,
        start,
        end,
        cause,
        call: None,
        thread: None,
        at: start,
    };
    let Some(launch) = launched_by else { return vec![whole(Idle::Unknown)] };
    let launch = &recording.timeline.spans[launch.0 as usize];
    let Lane::Thread(thread) = launch.lane else { return vec![whole(Idle::Unknown)] };
    if launch.start <= start {
        return vec![whole(Idle::Waiting)];
    }
    let here = (next.process, thread);
    let of_thread = calls.get(&here).map_or(&[][..], Vec::as_slice);
    let mut found: Vec<Gap> = Vec::new();
    let mut add = |cause, call, from: Instant, to: Instant, at: Instant| {
        if to > from {
            let is_elsewhere = cause == Idle::Launching && is_elsewhere(frames, here, from, to);
            let cause = if is_elsewhere { Idle::HostWork } else { cause };
            let thread = Some(thread);
            found.push(Gap {
                process: next.process,
                start: from,
                end: to,
                cause,
                call,
                thread,
                at,
            });
        }
    };
    // The call in which the host was when the device ran dry makes all that follows its doing.
    let first = of_thread.partition_point(|(_, call)| call.end <= start);
    let after = of_thread[first..].first().filter(|(_, call)| {
        call.start <= start
            && call.call.is_some_and(|it| it.is_synchronization() || it == Call::Copy)
    });
    let rest = after.map_or(Idle::Launching, |_| Idle::Synchronized);
    let mut at = start;
    for &(id, call) in &of_thread[first..] {
        if call.start >= launch.start {
            break;
        }
        let cause = cause_of(recording, frames, here, call);
        let begin = call.start.max(at);
        split(recording, frames, here, (at, begin), |cause_of_host, from, to, place| {
            add(cause_of_host.unwrap_or(rest), after.map(|it| it.0), from, to, place);
        });
        add(cause, Some(id), begin, call.end.min(launch.start).max(begin), call.start);
        at = call.end.min(launch.start).max(begin);
    }
    split(recording, frames, here, (at, launch.start), |cause_of_host, from, to, place| {
        add(cause_of_host.unwrap_or(rest), after.map(|it| it.0), from, to, place);
    });
    add(Idle::Launching, None, launch.start.max(start), end, launch.start);
    found
}

/// What a call that holds the host up makes of the time in it.
fn cause_of(recording: &Recording, frames: &Frames<'_>, here: (u32, u32), call: &Span) -> Idle {
    let memory = matches!(call.call, Some(Call::Allocate | Call::Free));
    match (memory, inside_data_loading(recording, frames, here, call.start)) {
        (_, true) => Idle::DataLoading,
        (true, false) => Idle::Allocation,
        (false, false) => Idle::Synchronized,
    }
}

/// Whether a host thread is outside of all operators for long.
fn is_elsewhere(
    frames: &Frames<'_>,
    (process, thread): (u32, u32),
    from: Instant,
    to: Instant,
) -> bool {
    let mut inside = frames.touching(process, thread, from, to);
    to.ps() - from.ps() > HOST_WORK_LEAST && !inside.any(|it| it.kind == FrameKind::Operator)
}

fn inside_data_loading(
    recording: &Recording,
    frames: &Frames<'_>,
    (process, thread): (u32, u32),
    at: Instant,
) -> bool {
    let labels = &recording.timeline.labels;
    frames.around(process, thread, at).any(|frame| loads_data(labels.name(frame.label)))
}

/// Cuts a stretch of host time into what loads data and what does not.
fn split(
    recording: &Recording,
    frames: &Frames<'_>,
    here: (u32, u32),
    (from, to): (Instant, Instant),
    mut add: impl FnMut(Option<Idle>, Instant, Instant, Instant),
) {
    let labels = &recording.timeline.labels;
    let mut at = from;
    for frame in frames.touching(here.0, here.1, from, to) {
        let loads = loads_data(labels.name(frame.label));
        if loads && frame.end > at && frame.start < to {
            add(None, at, frame.start.max(at), at);
            let end = frame.end.min(to);
            add(Some(Idle::DataLoading), frame.start.max(at), end, frame.start.max(from));
            at = end;
        }
    }
    add(None, at, to, at);
}

/// Whether a span computes.
pub(super) fn computes(span: &Span) -> bool {
    !span.lane.is_host() && !matches!(span.class, Class::Communication(_) | Class::Copy)
}
