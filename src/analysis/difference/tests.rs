//! Differences whose parts are counted by hand, and that always add up.

use proptest::prelude::*;

use super::*;
use crate::timeline::{Lane, Process};
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
    let difference = difference(&before, &after);
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

fn any_work() -> impl Strategy<Value = Vec<(&'static str, Class, u64, u64)>> {
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
        let difference = difference(&timeline(&before), &timeline(&after));
        for parts in [&difference.kinds, &difference.parts] {
            let sum: f64 = parts.iter().map(|part| part.difference_us).sum();
            prop_assert!((sum - difference.difference_us).abs() < 1e-9);
            let split: f64 = parts.iter().map(|part| part.by_count_us + part.by_length_us).sum();
            prop_assert!((split - difference.difference_us).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_differs_from_itself(work in any_work()) {
        let same = difference(&timeline(&work), &timeline(&work));
        prop_assert!(same.parts.iter().all(|part| part.difference_us == 0.0));
    }
}
