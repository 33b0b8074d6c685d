//! The profile against its obvious form, and cases counted by hand.

use proptest::prelude::*;

use super::slow::{idle_slow, occupancy_slow};
use super::*;
use crate::timeline::{
    Arrow, Call, Frame, FrameKind, FramePurpose, Lane, Meeting, Process, Span, SpanId, StepMark,
};
use crate::units::{Bytes, Instant, Picoseconds};
use crate::work::{Axis, Class, CollectiveKind};

const COMMUNICATION: Class = Class::Communication(Axis::Unstated);

fn span(process: u32, lane: Lane, class: Class, ready: u64, start: u64, end: u64) -> Span {
    let [ready, start, end] = [ready, start, end].map(Instant::from_ps);
    let label = crate::timeline::Labels::default().intern("");
    Span {
        process,
        lane,
        start,
        end,
        ready,
        launched: ready,
        label,
        class,
        call: None,
        task: None,
        bytes: Bytes::ZERO,
        breakdown: None,
    }
}

fn world(processes: u64) -> Timeline {
    let process = |rank| Process { rank, stage: None, multiplicity: 1 };
    Timeline { processes: (0..processes).map(process).collect(), ..Timeline::default() }
}

/// Adds a span of process 0 and gives its id.
fn push(timeline: &mut Timeline, name: &str, span: Span) -> SpanId {
    let label = timeline.labels.intern(name);
    timeline.spans.push(Span { label, ..span });
    SpanId(timeline.spans.len() as u32 - 1)
}

fn call(timeline: &mut Timeline, name: &str, call: Call, start: u64, end: u64) -> SpanId {
    let host = span(0, Lane::Thread(0), Class::Host, start, start, end);
    push(timeline, name, Span { call: Some(call), ..host })
}

fn kernel(timeline: &mut Timeline, by: Option<SpanId>, class: Class, start: u64, end: u64) {
    let to = push(timeline, class.name(), span(0, Lane::Stream(0), class, start, start, end));
    timeline.arrows.extend(by.map(|from| Arrow { from, to }));
}

fn ps(ps: u64) -> Picoseconds {
    Picoseconds::new(ps)
}

fn only(timeline: &Timeline) -> RankProfile {
    let options = ProfileOptions { kernels: 10, ..ProfileOptions::default() };
    profile(timeline, &options).ranks.remove(0)
}

#[test]
fn idle_time_is_told_apart_by_what_the_launching_thread_did() {
    let mut timeline = world(1);
    let first = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 0, 2);
    call(&mut timeline, "cudaStreamSynchronize", Call::SynchronizeStream, 3, 14);
    call(&mut timeline, "cudaMalloc", Call::Allocate, 16, 19);
    let second = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 20, 22);
    let third = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 23, 24);
    kernel(&mut timeline, Some(first), Class::Gemm, 2, 10);
    kernel(&mut timeline, Some(second), Class::Gemm, 25, 30);
    kernel(&mut timeline, Some(third), Class::Gemm, 30, 31);
    kernel(&mut timeline, None, Class::Norm, 40, 41);
    let rank = only(&timeline);
    // 10..25: 10..14 in the synchronisation, 16..19 in the allocation, launched at 22; 31..40.
    let expected = IdleTime {
        after_synchronization: ps(22 - 10 - 4 - 3),
        synchronization: ps(4),
        allocation: ps(3),
        latency: ps(3),
        unknown: ps(9),
        ..IdleTime::default()
    };
    assert_eq!(rank.idle_causes, expected);
    assert_eq!(rank.idle_causes.total(), rank.occupancy.idle);
    assert_eq!(rank.host_sync_call, ps(11));
    assert_eq!((rank.allocation.count, rank.allocation.total), (1, ps(3)));
    assert_eq!((rank.kinds[0].kind, rank.kinds[0].count), ("gemm", 3));
    assert_eq!((rank.kinds[0].total, rank.kinds[0].mean), (ps(14), ps(4)));
}

#[test]
fn the_queue_is_what_was_launched_and_has_not_begun() {
    let mut timeline = world(1);
    for at in 0..3 {
        let by = call(&mut timeline, "cudaLaunchKernel", Call::Launch, at, at + 1);
        kernel(&mut timeline, Some(by), Class::Gemm, 10 + 10 * at, 20 + 10 * at);
    }
    let queue = only(&timeline).queue;
    // One from 0, two from 1, three from 2 to 10, two to 20, one to 30: 1 + 2 + 24 + 20 + 10.
    assert_eq!((queue.max, queue.mean), (3, 57.0 / 30.0));
    assert_eq!((queue.deep, queue.held_up_launches), (ps(0), 0));
    // Thirty bins of a picosecond.
    let series = only(&timeline).streams.remove(0).queue_depth;
    assert_eq!((series.start, series.bin, series.max.len()), (ps(0), ps(1), 30));
    assert_eq!((series.max[..3].to_vec(), series.max[9], series.max[10]), (vec![1, 2, 3], 3, 2));
    assert_eq!(series.min, series.max);
}

#[test]
fn a_series_of_depths_is_bounded_and_keeps_its_extremes() {
    let mut timeline = world(1);
    for at in 0..2000 {
        let by = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 10 * at, 10 * at + 1);
        kernel(&mut timeline, Some(by), Class::Gemm, 10 * at + 5, 10 * at + 6);
    }
    let deep = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 7_001, 7_002);
    kernel(&mut timeline, Some(deep), Class::Gemm, 7_009, 7_010);
    let series = only(&timeline).streams.remove(0).queue_depth;
    // 19,995 ps in bins of 40: four launches in each, never two at a time but in bin 175.
    assert_eq!((series.bin, series.max.len(), series.min.len()), (ps(40), 500, 500));
    assert!(series.min.iter().all(|depth| *depth == 0));
    assert!((0..).zip(&series.max).all(|(bin, depth)| *depth == if bin == 175 { 2 } else { 1 }));
}

#[test]
fn a_stream_that_is_idle_beside_a_busy_one_is_told() {
    let mut timeline = world(1);
    let first = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 0, 1);
    let second = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 1, 2);
    let third = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 20, 23);
    for (by, stream, start, end) in [(first, 0, 2, 10), (second, 1, 3, 40), (third, 0, 25, 30)] {
        let one = span(0, Lane::Stream(stream), Class::Gemm, start, start, end);
        let to = push(&mut timeline, "gemm", one);
        timeline.arrows.push(Arrow { from: by, to });
    }
    let rank = only(&timeline);
    assert_eq!(rank.occupancy.idle, ps(0));
    let stream = &rank.streams[0];
    assert_eq!((stream.gpu_events, stream.window, stream.busy), (2, ps(28), ps(13)));
    // Idle 10..25: launched at 23.
    let causes = (stream.idle_causes.launch, stream.idle_causes.latency);
    assert_eq!((stream.idle, causes), (ps(15), (ps(13), ps(2))));
    assert_eq!(rank.streams[1].idle, ps(0));
}

#[test]
fn a_full_queue_holds_launches_up() {
    let mut timeline = world(1);
    for at in 0..1000 {
        let length = if at == 950 { 500 } else { 1 };
        let start = if at > 950 { at + 500 } else { at };
        let by = call(&mut timeline, "cudaLaunchKernel", Call::Launch, start, start + length);
        kernel(&mut timeline, Some(by), Class::Gemm, 10_000 + at, 10_001 + at);
    }
    let queue = only(&timeline).queue;
    assert_eq!((queue.max, queue.held_up_launches, queue.held_up), (1000, 1, ps(500)));
    // From the 900th launch, at 899, until the 101st start.
    assert_eq!(queue.deep, ps(10_100 - 899));
}

#[test]
fn device_work_belongs_to_the_step_that_launched_it() {
    let mut timeline = world(1);
    for (number, start, end) in [(7, 0, 10), (8, 10, 20)] {
        let (start, end) = (Instant::from_ps(start), Instant::from_ps(end));
        timeline.steps.push(StepMark { process: 0, number, start, end });
    }
    let first = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 5, 6);
    let second = call(&mut timeline, "cudaLaunchKernel", Call::Launch, 12, 13);
    kernel(&mut timeline, Some(first), Class::Gemm, 8, 14);
    kernel(&mut timeline, Some(first), COMMUNICATION, 13, 16);
    kernel(&mut timeline, Some(second), Class::Gemm, 17, 25);
    kernel(&mut timeline, None, Class::Gemm, 30, 31);
    let steps = only(&timeline).steps;
    assert_eq!((steps[0].step, steps[0].gpu_events), (7, 2));
    assert_eq!((steps[0].occupancy.window, steps[0].period), (ps(8), ps(9)));
    assert_eq!(steps[0].occupancy.exposed_communication, ps(2));
    assert_eq!((steps[1].step, steps[1].gpu_events), (8, 1));
    assert_eq!(steps[1].host, ps(10));
}

#[test]
fn a_copy_blocks_when_its_call_lasts_until_it_is_there() {
    let mut timeline = world(1);
    let blocking = call(&mut timeline, "cudaMemcpyAsync", Call::Copy, 0, 20);
    let other = call(&mut timeline, "cudaMemcpyAsync", Call::Copy, 21, 22);
    kernel(&mut timeline, Some(blocking), Class::Copy, 5, 18);
    kernel(&mut timeline, Some(other), Class::Copy, 25, 30);
    let host = only(&timeline).host;
    assert_eq!((host.blocking_copies.count, host.blocking_copies.total), (1, ps(20)));
    assert_eq!(host.synchronization, []);
}

#[test]
fn a_collective_tells_who_was_last_and_splits_waiting_from_transfer() {
    let mut timeline = world(3);
    let mut members = Vec::new();
    for (process, ready) in [(0, 10), (1, 40), (2, 25)] {
        let one = span(process, Lane::Stream(0), COMMUNICATION, ready, 40, 60);
        let bytes = Bytes::new(4000.0);
        members.push(push(&mut timeline, "nccl", Span { bytes, ..one }));
    }
    let communicator = timeline.labels.intern("world");
    timeline.meetings.push(Meeting { communicator, sequence: 0, members });
    let known = |members: &[SpanId]| {
        let known = |&span: &SpanId| KnownCollective {
            span,
            kind: Some(CollectiveKind::AllReduce),
            dtype: None,
            group_size: Some(3),
        };
        members.iter().map(known).collect()
    };
    let communication = known(&timeline.meetings[0].members);
    let options = ProfileOptions { communication, ..ProfileOptions::default() };
    let profile = profile(&timeline, &options);
    let collective = &profile.collectives[0];
    assert_eq!((collective.last_rank, collective.skew), (1, ps(30)));
    let waiting: Vec<Picoseconds> = collective.members.iter().map(|it| it.waiting).collect();
    assert_eq!(waiting, [ps(30), ps(0), ps(15)]);
    assert!(collective.members.iter().all(|it| it.transfer == ps(20)));
    // 4000 bytes in 20 ps.
    let bandwidth = collective.algorithm_bandwidth_gb_per_s.unwrap();
    assert!((bandwidth - 200_000.0).abs() < 1e-6, "{bandwidth}");
    // An all-reduce of 3 ranks sends two thirds of it twice.
    let bandwidth = collective.bus_bandwidth_gb_per_s.unwrap();
    assert!((bandwidth - 200_000.0 * 4.0 / 3.0).abs() < 1e-6, "{bandwidth}");
    assert_eq!(collective.operation, Some("all_reduce"));
    let operation = &profile.ranks[0].operations[0];
    assert_eq!((operation.count, operation.bytes, operation.sized_count), (1, 4000, 1));
    let last = profile.ranks[1].communication;
    assert_eq!((last.last_arrivals, last.caused_waiting), (1, ps(15)));
}

#[test]
fn the_transfer_of_a_group_that_was_not_recorded_whole_has_no_bus_bandwidth() {
    let mut timeline = world(2);
    let mut members = Vec::new();
    for process in [0, 1] {
        let one = span(process, Lane::Stream(0), COMMUNICATION, 40, 40, 60);
        let bytes = Bytes::new(4000.0);
        members.push(push(&mut timeline, "nccl", Span { bytes, ..one }));
    }
    let communicator = timeline.labels.intern("world");
    let kind = Some(CollectiveKind::AllGather);
    let communication = |group_size| {
        let known = |&span: &SpanId| KnownCollective { span, kind, dtype: None, group_size };
        members.iter().map(known).collect::<Vec<_>>()
    };
    let told = communication(Some(4));
    let untold = communication(None);
    timeline.meetings.push(Meeting { communicator, sequence: 0, members });
    let bus = |communication: &Vec<KnownCollective>, world_size| {
        let communication = communication.clone();
        let options = ProfileOptions { kernels: 0, communication, world_size };
        profile(&timeline, &options).collectives[0].bus_bandwidth_gb_per_s
    };
    assert_eq!(bus(&told, Some(4)), None);
    assert_eq!(bus(&untold, Some(4)), None);
    assert_eq!(bus(&untold, None), None);
    // 200 GB/s (in thousands), half of which stays at home, of two ranks that are all there are.
    assert!((bus(&untold, Some(2)).unwrap() - 100_000.0).abs() < 1e-6);
}

fn any_work() -> impl Strategy<Value = Vec<Span>> {
    let one = (0..3_usize, 0..4_u32, 0..60_u64, 0..10_u64, 0..20_u64);
    let one = one.prop_map(|(kind, stream, ready, wait, length)| {
        let class = [Class::Gemm, COMMUNICATION, Class::Copy][kind];
        let start = ready + wait;
        span(0, Lane::Stream(stream), class, ready, start, start + length)
    });
    proptest::collection::vec(one, 0..25)
}

proptest! {
    #[test]
    fn occupancy_is_what_its_definition_says(work in any_work()) {
        prop_assert_eq!(Occupancy::of(work.iter()), occupancy_slow(&work));
    }

    #[test]
    fn causes_of_idle_time_are_those_of_each_moment_and_sum_to_it(
        work in any_work(),
        calls in any_calls(),
        frames in any_frames(),
    ) {
        let timeline = idle_world(work, &calls, &frames);
        let slow = idle_slow(&timeline, TICK, 90);
        let stretches = idle_stretches(&timeline);
        for (tick, expected) in (0..).zip(&slow) {
            let at = tick * TICK;
            let here = stretches.iter().filter(|one| one.start.ps() <= at && at < one.end.ps());
            let found: Vec<Cause> = here.map(|one| one.cause).collect();
            prop_assert_eq!(found, expected.iter().copied().collect::<Vec<_>>(), "at {}", tick);
        }
        let rank = only(&timeline);
        prop_assert_eq!(rank.idle_causes.total(), rank.occupancy.idle);
        for stream in &rank.streams {
            prop_assert_eq!(stream.idle_causes.total(), stream.idle);
        }
    }
}

/// 0.4 ms: three of them are more than the millisecond from which on a host does something else.
const TICK: u64 = 400_000_000;

/// Calls: thread, kind, start, length, and which work one launches.
type AnyCall = (u32, usize, u64, u64, usize);

fn any_calls() -> impl Strategy<Value = Vec<AnyCall>> {
    proptest::collection::vec((0..2_u32, 0..6_usize, 0..70_u64, 0..6_u64, 0..25_usize), 0..20)
}

/// Frames: thread, purpose, kind, start, length.
type AnyFrame = (u32, usize, bool, u64, u64);

fn any_frames() -> impl Strategy<Value = Vec<AnyFrame>> {
    let one = (0..2_u32, 0..4_usize, any::<bool>(), 0..70_u64, 0..9_u64);
    proptest::collection::vec(one, 0..12)
}

fn idle_world(work: Vec<Span>, calls: &[AnyCall], frames: &[AnyFrame]) -> Timeline {
    let mut timeline = world(1);
    let at = |tick: u64| Instant::from_ps(tick * TICK);
    for one in work {
        let [start, end, ready] = [one.start, one.end, one.ready].map(|it| at(it.ps()));
        push(&mut timeline, "work", Span { start, end, ready, launched: ready, ..one });
    }
    let works = timeline.spans.len();
    let mut launched = std::collections::BTreeSet::new();
    for &(thread, kind, start, length, work) in calls {
        let kinds = [
            Call::Launch,
            Call::Copy,
            Call::SynchronizeStream,
            Call::Allocate,
            Call::Free,
            Call::Other,
        ];
        let host = span(0, Lane::Thread(thread), Class::Host, 0, 0, 0);
        let (start, end) = (at(start), at(start + length));
        let call = Span { start, end, ready: start, launched: start, ..host };
        let from = push(&mut timeline, "call", Span { call: Some(kinds[kind]), ..call });
        if work < works && kinds[kind].puts_work() && launched.insert(work) {
            timeline.arrows.push(Arrow { from, to: SpanId(work as u32) });
        }
    }
    for &(thread, purpose, is_operator, start, length) in frames {
        let purposes = [
            None,
            Some(FramePurpose::DataLoading),
            Some(FramePurpose::Range),
            Some(FramePurpose::Library),
        ];
        let kind = if is_operator { FrameKind::Operator } else { FrameKind::Python };
        let (purpose, label) = (purposes[purpose], timeline.labels.intern("frame"));
        let (start, end) = (at(start), at(start + length));
        timeline.frames.push(Frame { process: 0, thread, kind, purpose, start, end, label });
    }
    timeline.frames.sort_by_key(|frame| (frame.thread, frame.start, std::cmp::Reverse(frame.end)));
    timeline
}
