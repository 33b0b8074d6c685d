//! Occupancy and causes of idle time moment by moment, as their definitions read: the judges of the
//! fast ones.

use super::idle::HOST_WORK_LEAST;
use super::{Cause, Occupancy};
use crate::timeline::{Call, FramePurpose, Lane, Span, SpanId, Timeline};
use crate::units::Picoseconds;
use crate::work::Class;

pub(super) fn occupancy_slow(work: &[Span]) -> Occupancy {
    let first = work.iter().map(|span| span.occupied().0.ps()).min().unwrap_or(0);
    let last = work.iter().map(|span| span.occupied().1.ps()).max().unwrap_or(first);
    let runs = |at: u64, meant: fn(Class) -> bool| {
        work.iter().any(|span| {
            let (from, to) = span.occupied();
            meant(span.class) && from.ps() <= at && at < to.ps()
        })
    };
    let mut counts = [0; 7];
    for at in first..last {
        let communication = runs(at, |class| matches!(class, Class::Communication(_)));
        let memory = runs(at, |class| class == Class::Copy);
        let compute =
            runs(at, |class| !matches!(class, Class::Communication(_)) && class != Class::Copy);
        let held = [
            communication || memory || compute,
            compute,
            communication,
            memory,
            communication && compute,
            communication && !compute,
            communication && !compute && !memory,
        ];
        for (count, holds) in counts.iter_mut().zip(held) {
            *count += u64::from(holds);
        }
    }
    let [busy, compute, communication, memory, overlap, exposed_communication, beyond] =
        counts.map(Picoseconds::new);
    let window = Picoseconds::new(last - first);
    Occupancy {
        window,
        idle: window - busy,
        busy,
        compute,
        communication,
        memory,
        overlap,
        exposed_communication,
        exposed_beyond_memory: beyond,
    }
}

/// The cause of each idle tick of the only process of a timeline, whose times are multiples of a
/// tick; `None` where something runs, and before the first and behind the last work.
pub(super) fn idle_slow(timeline: &Timeline, tick: u64, ticks: u64) -> Vec<Option<Cause>> {
    (0..ticks).map(|number| idle_at(timeline, number * tick, tick)).collect()
}

fn launch_of(timeline: &Timeline, work: usize) -> Option<&Span> {
    let arrow = timeline.arrows.iter().find(|arrow| arrow.to == SpanId(work as u32))?;
    Some(&timeline.spans[arrow.from.0 as usize])
}

fn idle_at(timeline: &Timeline, at: u64, tick: u64) -> Option<Cause> {
    let device = || timeline.spans.iter().enumerate().filter(|(_, span)| !span.lane.is_host());
    let starts = |span: &Span| span.occupied().0.ps();
    if device().any(|(_, span)| starts(span) <= at && at < span.end.ps()) {
        return None;
    }
    // Work without a length that begins now ended the stretch before.
    let order = |one: &(usize, &Span)| (starts(one.1), one.0);
    let next = device().filter(|(_, span)| starts(span) > at).min_by_key(order)?;
    let free = device().filter(|(_, span)| starts(span) <= at).map(|(_, span)| span.end.ps());
    let from = free.max()?;
    let Some(launch) = launch_of(timeline, next.0) else { return Some(Cause::Unknown) };
    let copies = launch.call == Some(Call::Copy);
    let launched = if copies { launch.start.ps() } else { launch.end.ps() };
    if at >= launched {
        return Some(if launched > from { Cause::Latency } else { Cause::Device });
    }
    let earlier = device().filter(|one| order(one) < order(&next));
    let earlier = earlier.filter_map(|one| Some((order(&one), launch_of(timeline, one.0)?.lane)));
    let before = earlier.max_by_key(|one| one.0).map(|one| one.1);
    let lanes: Vec<Lane> = std::iter::once(launch.lane).chain(before).collect();
    let does = |at: u64| {
        let all = lanes.iter().map(|lane| doing(timeline, *lane, at));
        all.flatten().next()
    };
    match does(at) {
        Some(Cause::Launch) => {}
        Some(cause) => return Some(cause),
        None => {
            let late = from..launched.min(starts(next.1));
            let is_nothing = |at: u64| late.contains(&at) && does(at).is_none();
            let behind = (0..).take_while(|step| is_nothing(at + step * tick)).count();
            let ahead = (1..).take_while(|step| is_nothing(at.wrapping_sub(step * tick))).count();
            if (behind + ahead) as u64 * tick > HOST_WORK_LEAST {
                return Some(Cause::HostWork);
            }
        }
    }
    let waited = lanes.iter().any(|lane| waits(timeline, *lane, from));
    Some(if waited { Cause::AfterSynchronization } else { Cause::Launch })
}

fn calls_at(timeline: &Timeline, lane: Lane, at: u64) -> impl Iterator<Item = (usize, &Span)> {
    let of_lane = timeline.spans.iter().enumerate().filter(move |(_, span)| span.lane == lane);
    of_lane.filter(move |(_, span)| span.start.ps() <= at && at < span.end.ps())
}

fn waits(timeline: &Timeline, lane: Lane, at: u64) -> bool {
    calls_at(timeline, lane, at).any(|(index, span)| {
        let contains = |copy: &Span| copy.start >= span.start && copy.end <= span.end;
        let of_call = |arrow: &&crate::timeline::Arrow| arrow.from == SpanId(index as u32);
        let mut launched = timeline.arrows.iter().filter(of_call);
        span.call.is_some_and(Call::is_synchronization)
            || span.call == Some(Call::Copy)
                && launched.any(|arrow| contains(&timeline.spans[arrow.to.0 as usize]))
    })
}

/// What a thread does, as the cause of idle time that it would be.
fn doing(timeline: &Timeline, lane: Lane, at: u64) -> Option<Cause> {
    let mut frames = timeline.frames.iter().filter(|frame| {
        lane == Lane::Thread(frame.thread) && frame.start.ps() <= at && at < frame.end.ps()
    });
    let loads = |purpose| purpose == Some(FramePurpose::DataLoading);
    let is_memory = |span: &Span| matches!(span.call, Some(Call::Allocate | Call::Free));
    if frames.any(|frame| loads(frame.purpose)) {
        return Some(Cause::DataLoading);
    }
    if calls_at(timeline, lane, at).any(|(_, span)| is_memory(span)) {
        return Some(Cause::Allocation);
    }
    if waits(timeline, lane, at) {
        return Some(Cause::Synchronization);
    }
    let is_busy = calls_at(timeline, lane, at).next().is_some();
    is_busy.then_some(Cause::Launch)
}
