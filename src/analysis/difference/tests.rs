//! Differences whose parts are counted by hand, and that always add up.

use proptest::prelude::*;

use super::*;
use crate::timeline::{Arrow, Call, Lane, Process, StepMark};
use crate::units::{Bytes, Instant};
use crate::work::{Axis, Class};

fn timeline(work: &[(&str, Class, u64, u64)]) -> Timeline {
    let process = Process { rank: 0, stage: None, multiplicity: 1 };
    let mut timeline = Timeline { processes: vec![process], ..Timeline::default() };
    for (stream, &(name, class, start, end)) in (0..).zip(work) {
        let label = timeline.labels.intern(name);
        let [start, end] = [start, end].map(|us| Instant::from_ps(us * 1_000_000));
        timeline.spans.push(Span {
            process: 0,
            lane: Lane::Stream(stream % 3),
            start,
            end,
            ready: start,
            launched: start,
            label,
            class,
            call: None,
            task: None,
            bytes: Bytes::ZERO,
            breakdown: None,
        });
    }
    timeline
}

fn part<'a>(difference: &'a TimelineDifference, name: &str) -> &'a PartDifference {
    difference.parts.iter().find(|part| part.name == name).unwrap()
}

fn of(timeline: &Timeline) -> Compared<'_> {
    Compared { timeline, operations: &[] }
}

#[test]
fn more_calls_and_longer_calls_are_told_apart() {
    let nccl = Class::Communication(Axis::Unstated);
    let before = timeline(&[
        ("void gemm<4>(int)", Class::Gemm, 0, 10),
        ("void gemm<8>(int)", Class::Gemm, 10, 20),
        ("nccl", nccl, 15, 30),
    ]);
    let after = timeline(&[
        ("gemm", Class::Gemm, 0, 12),
        ("gemm", Class::Gemm, 12, 24),
        ("gemm", Class::Gemm, 24, 36),
        ("nccl", nccl, 20, 40),
        ("new", Class::Norm, 45, 50),
    ]);
    let difference = difference(of(&before), of(&after));
    assert_eq!((difference.before_us, difference.after_us), (30.0, 50.0));
    let gemm = part(&difference, "gemm");
    // Two of 10 us, then three of 12 us: one more of 10, three times 2.
    assert_eq!((gemm.before_count, gemm.after_count), (2.0, 3.0));
    assert_eq!((gemm.by_count_us, gemm.by_length_us), (10.0, 6.0));
    // Exposed: 20..30, then 36..40.
    assert_eq!(part(&difference, "nccl").difference_us, -6.0);
    let new = part(&difference, "new");
    assert_eq!((new.by_count_us, new.by_length_us), (5.0, 0.0));
    let idle = difference.kinds.iter().find(|kind| kind.kind == "idle").unwrap();
    assert_eq!(idle.difference_us, 5.0);
}

#[test]
fn instances_of_a_template_are_one_kernel_and_copies_keep_their_direction() {
    assert_eq!(family("void at::native::f<4, a<b>>(int, g<h>)"), "at::native::f");
    assert_eq!(family("Memcpy HtoD (Pinned -> Device)"), "Memcpy HtoD (Pinned -> Device)");
    assert_eq!(family("<>"), "<>");
}

#[test]
fn communication_is_matched_by_its_operation_whatever_it_is_called() {
    let before = timeline(&[("nccl:dp all-gather", Class::Communication(Axis::Dp), 0, 10)]);
    let nccl = Class::Communication(Axis::Unstated);
    let after = timeline(&[("ncclDevKernel_Generic", nccl, 0, 30), ("mine", nccl, 30, 31)]);
    let known = [(SpanId(0), CollectiveKind::AllGather)];
    let compared = |timeline| Compared { timeline, operations: &known };
    let difference = difference(compared(&before), compared(&after));
    let kinds: Vec<_> = difference
        .kinds
        .iter()
        .map(|kind| (kind.kind, kind.operation, kind.only_in, kind.difference_us))
        .collect();
    let expected = [
        ("communication", Some("all_gather"), None, 20.0),
        ("communication", Some("unknown"), Some("after"), 1.0),
    ];
    assert_eq!(kinds, expected);
    let sides: Vec<_> = difference.parts.iter().map(|part| part.only_in).collect();
    assert_eq!(sides, [Some("after"), Some("before"), Some("after")]);
}

#[test]
fn steps_are_matched_by_number_or_else_in_order() {
    let marked = |numbers: [u64; 2]| {
        let mut timeline = timeline(&[("gemm", Class::Gemm, 0, 10), ("gemm", Class::Gemm, 20, 45)]);
        for (number, (start, end)) in numbers.into_iter().zip([(0, 15), (15, 50)]) {
            let [start, end] = [start, end].map(|us| Instant::from_ps(us * 1_000_000));
            timeline.steps.push(StepMark { process: 0, number, start, end });
        }
        timeline
    };
    let pairs = |before, after| {
        let steps = difference(of(&marked(before)), of(&marked(after))).steps;
        let pair = |step: &StepDifference| (step.before_step, step.after_step, step.difference_us);
        steps.iter().map(pair).collect::<Vec<_>>()
    };
    // The first lasts to the start of the second, 20 us; the second 25 us.
    let shared = [(Some(7), Some(7), Some(-5.0)), (None, Some(6), None), (Some(8), None, None)];
    assert_eq!(pairs([7, 8], [6, 7]), [(Some(7), Some(7), Some(5.0)), shared[1], shared[2]]);
    let ordered = [(Some(1), Some(5), Some(0.0)), (Some(2), Some(6), Some(0.0))];
    assert_eq!(pairs([1, 2], [5, 6]), ordered);
}

type AnyWork = Vec<(&'static str, Class, u64, u64)>;

/// The work on two ranks, every third span on the second, launched by calls; the first half of the
/// time is a step, and the second another.
fn any_job(work: &AnyWork) -> Timeline {
    let mut timeline = timeline(work);
    timeline.processes.push(Process { rank: 1, stage: None, multiplicity: 1 });
    let label = timeline.labels.intern("call");
    let count = timeline.spans.len();
    for index in 0..count {
        let process = u32::from(index % 3 == 2);
        timeline.spans[index].process = process;
        let of = timeline.spans[index].clone();
        let call = [Call::Launch, Call::SynchronizeStream, Call::Allocate][index % 3];
        let end = of.start;
        let start = Instant::from_ps(end.ps().saturating_sub((index as u64 % 5) * 1_000_000));
        let (class, lane) = (Class::Host, Lane::Thread(0));
        let host = Span { process, lane, start, end, ready: start, launched: start, label, ..of };
        timeline.spans.push(Span { class, call: Some(call), ..host });
        if index % 4 != 3 {
            let from = SpanId(timeline.spans.len() as u32 - 1);
            timeline.arrows.push(Arrow { from, to: SpanId(index as u32) });
        }
    }
    for process in 0..2 {
        for (number, start, end) in [(0, 0, 50), (1, 50, 100)] {
            let [start, end] = [start, end].map(|us: u64| Instant::from_ps(us * 1_000_000));
            timeline.steps.push(StepMark { process, number, start, end });
        }
    }
    timeline
}

fn any_work() -> impl Strategy<Value = AnyWork> {
    let kinds = [
        ("gemm", Class::Gemm),
        ("norm", Class::Norm),
        ("nccl", Class::Communication(Axis::Unstated)),
        ("Memcpy", Class::Copy),
    ];
    let one = (0..4_usize, 0..80_u64, 0..20_u64);
    let one = one.prop_map(move |(kind, start, length)| {
        (kinds[kind].0, kinds[kind].1, start, start + length)
    });
    proptest::collection::vec(one, 0..25)
}

proptest! {
    #[test]
    fn parts_add_up_to_the_difference(before in any_work(), after in any_work()) {
        let difference = difference(of(&any_job(&before)), of(&any_job(&after)));
        let before_us: f64 = difference.kinds.iter().map(|kind| kind.before_us).sum();
        prop_assert!((before_us - difference.before_us).abs() < 1e-9);
        for parts in [&difference.kinds, &difference.parts] {
            let sum: f64 = parts.iter().map(|part| part.difference_us).sum();
            prop_assert!((sum - difference.difference_us).abs() < 1e-9);
            let split: f64 = parts.iter().map(|part| part.by_count_us + part.by_length_us).sum();
            prop_assert!((split - difference.difference_us).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_differs_from_itself(work in any_work()) {
        let same = difference(of(&any_job(&work)), of(&any_job(&work)));
        prop_assert!(same.parts.iter().all(|part| part.difference_us == 0.0));
    }
}
