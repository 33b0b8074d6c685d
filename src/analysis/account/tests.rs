//! The account against its obvious form, and cases counted by hand.

use proptest::prelude::*;

use super::slow::account_slow;
use super::*;
use crate::timeline::{Breakdown, Process};
use crate::timeline::{Lane, Span};
use crate::units::Bytes;

fn world(stages: &[u64]) -> Timeline {
    let process = |&stage| Process { rank: stage, stage: Some(stage), multiplicity: 1 };
    Timeline { processes: stages.iter().map(process).collect(), ..Timeline::default() }
}

/// `times` are launched, ready, start and end.
fn push(timeline: &mut Timeline, lane: Lane, class: Class, times: [u64; 4]) {
    let label = timeline.labels.intern(class.name());
    let [launched, ready, start, end] = times.map(Instant::from_ps);
    timeline.spans.push(Span {
        process: 0,
        lane,
        start,
        end,
        ready,
        launched,
        label,
        class,
        task: None,
        bytes: Bytes::ZERO,
        call: None,
        breakdown: None,
    });
}

fn parts(account: &Account) -> Vec<(Part, u64)> {
    account.parts.iter().map(|(part, ps)| (*part, *ps)).collect()
}

#[test]
fn a_gap_belongs_to_communication_then_the_host_then_nobody() {
    let mut timeline = world(&[0]);
    push(&mut timeline, Lane::Compute, Class::Gemm, [0, 0, 0, 10]);
    push(
        &mut timeline,
        Lane::Communication(Axis::Tp, 0),
        Class::Communication(Axis::Tp),
        [0, 5, 5, 14],
    );
    push(&mut timeline, Lane::Compute, Class::Norm, [17, 17, 20, 30]);
    // 0..10 gemm, 10..14 all that is exposed of 5..14, 14..17 the host, 17..20 unexplained,
    // 20..30 norm, 30..34 behind the last span.
    let account = account(&timeline, 0, Instant::from_ps(34));
    let expected = [
        (Part::Work(Class::Gemm), 10),
        (Part::Work(Class::Norm), 10),
        (Part::Work(Class::Communication(Axis::Tp)), 4),
        (Part::Work(Class::Host), 3 + 4),
        (Part::Other, 3),
    ];
    assert_eq!(parts(&account), expected);
}

#[test]
fn waiting_for_a_late_transfer_is_bubble_though_the_host_was_late_too() {
    let mut timeline = world(&[0, 1]);
    let pp = Class::Communication(Axis::Pp);
    push(&mut timeline, Lane::Communication(Axis::Pp, 2), pp, [0, 0, 8, 10]);
    push(&mut timeline, Lane::Compute, Class::Gemm, [5, 10, 10, 20]);
    let account = account(&timeline, 0, Instant::from_ps(20));
    let expected = [(Part::Work(Class::Gemm), 10), (Part::Work(pp), 2), (Part::Bubble, 8)];
    assert_eq!(parts(&account), expected);
}

#[test]
fn a_reduction_hidden_in_a_wait_for_the_pipeline_is_not_exposed() {
    let mut timeline = world(&[0, 1]);
    let (pp, dp) = (Class::Communication(Axis::Pp), Class::Communication(Axis::Dp));
    push(&mut timeline, Lane::Compute, Class::Gemm, [0, 0, 0, 10]);
    // Beside the wait, and on into the next kernel.
    push(&mut timeline, Lane::Communication(Axis::Dp, 0), dp, [0, 8, 8, 14]);
    push(&mut timeline, Lane::Communication(Axis::Dp, 0), dp, [0, 14, 14, 30]);
    push(&mut timeline, Lane::Communication(Axis::Pp, 2), pp, [0, 10, 18, 20]);
    push(&mut timeline, Lane::Compute, Class::Gemm, [0, 20, 20, 40]);
    let account = account(&timeline, 0, Instant::from_ps(40));
    let expected = [(Part::Work(Class::Gemm), 30), (Part::Work(pp), 2), (Part::Bubble, 8)];
    assert_eq!(parts(&account), expected);
}

fn block(timeline: &mut Timeline, times: [u64; 4]) {
    let mut breakdown = Breakdown::default();
    breakdown.add(Class::Gemm, Seconds::new(80e-12));
    breakdown.add(Class::Communication(Axis::Tp), Seconds::new(20e-12));
    timeline.breakdowns = vec![breakdown];
    push(timeline, Lane::Compute, Class::Gemm, times);
    if let Some(span) = timeline.spans.last_mut() {
        span.breakdown = Some(0);
    }
}

#[test]
fn a_stretched_block_is_the_hosts_fault_only_when_the_host_had_no_lead() {
    let tp = Part::Work(Class::Communication(Axis::Tp));
    let (gemm, host) = (Part::Work(Class::Gemm), Part::Work(Class::Host));
    let dp = Class::Communication(Axis::Dp);
    // 100 ps of contents in 110 ps. Launched 500 ps ahead, beside a reduction: kernels slowed.
    let mut timeline = world(&[0]);
    block(&mut timeline, [0, 500, 500, 610]);
    push(&mut timeline, Lane::Communication(Axis::Dp, 0), dp, [0, 500, 500, 610]);
    let slowed = account(&timeline, 0, Instant::from_ps(610));
    assert_eq!((slowed.parts[&gemm], slowed.parts[&tp]), (90, 20));
    // Launched when it started: the host.
    let mut timeline = world(&[0]);
    block(&mut timeline, [500, 500, 500, 610]);
    let bound = account(&timeline, 0, Instant::from_ps(610));
    assert_eq!((bound.parts[&gemm], bound.parts[&tp]), (80, 20));
    assert_eq!(bound.parts[&host], 500 + 10);
}

#[test]
fn no_compute_at_all_is_no_trouble() {
    assert_eq!(accounts(&Timeline::default(), Instant::from_ps(5)), []);
    let idle = account(&world(&[0, 1]), 0, Instant::from_ps(5));
    assert_eq!(parts(&idle), [(Part::Work(Class::Host), 5)]);
}

fn any_span() -> impl Strategy<Value = (usize, [u64; 4], bool)> {
    (0..5usize, 0..60u64, 0..8u64, 0..8u64, 0..12u64, any::<bool>()).prop_map(
        |(lane, launched, ready, start, length, is_block)| {
            let ready = launched + ready;
            let start = ready + start;
            (lane, [launched, ready, start, start + length], is_block)
        },
    )
}

proptest! {
    #[test]
    fn the_sweep_agrees_with_the_definition_and_sums_to_the_step(
        spans in proptest::collection::vec(any_span(), 0..14),
        stages in 1..3u64,
        end in 0..110u64,
    ) {
        let mut timeline = world(&(0..stages).collect::<Vec<_>>());
        let mut breakdown = Breakdown::default();
        breakdown.add(Class::Gemm, Seconds::new(3e-12));
        breakdown.add(Class::Communication(Axis::Tp), Seconds::new(2e-12));
        timeline.breakdowns = vec![breakdown];
        for (lane, times, is_block) in spans {
            let (lane, class) = match lane {
                0 => (Lane::Compute, Class::Gemm),
                1 => (Lane::Compute, Class::Attention),
                2 => (Lane::Communication(Axis::Pp, 0), Class::Communication(Axis::Pp)),
                3 => (Lane::Communication(Axis::Dp, 0), Class::Communication(Axis::Dp)),
                _ => (Lane::Communication(Axis::Tp, 0), Class::Communication(Axis::Tp)),
            };
            push(&mut timeline, lane, class, times);
            if is_block && lane == Lane::Compute && let Some(span) = timeline.spans.last_mut() {
                span.breakdown = Some(0);
            }
        }
        let end = Instant::from_ps(end);
        let fast = account(&timeline, 0, end);
        prop_assert_eq!(fast.parts.values().sum::<u64>(), end.ps());
        prop_assert_eq!(parts(&fast), parts(&account_slow(&timeline, 0, end)));
    }
}
