//! Diagnosis of recordings made by hand, each with one thing wrong. Times are in microseconds.

use crate::made::{LATENCY, Made, PASSES, made, made_rank, slowed_by_communication};
use stepcast::analysis::{Diagnosis, Hypothesis, SlowdownCause};
use stepcast::explore::diagnose::diagnose;
use stepcast::spec::DataSources;
use stepcast::timeline::FrameKind;
use stepcast::trace::{Recording, join};

fn diagnosed(recording: &Recording) -> Diagnosis {
    diagnose(recording, &DataSources::default()).expect("a diagnosis")
}

/// The hypothesis worth most, which must be of a cause and come with evidence and an experiment.
fn first(recording: &Recording, cause: SlowdownCause) -> Hypothesis {
    let diagnosis = diagnosed(recording);
    let first = diagnosis.hypotheses.first().expect("something is wrong");
    assert_eq!(first.cause, cause, "{:?}", diagnosis.hypotheses);
    assert!(!first.evidence.is_empty() && !first.experiment.is_empty(), "{first:?}");
    first.clone()
}

fn worth(one: &Hypothesis) -> f64 {
    one.worth_us.expect("an edit removes it").round()
}

/// Kernels of 100 back to back, launched every 3 from a time on.
fn busy(made: &mut Made<'_>, from: i64, count: i64) {
    for it in 0..count {
        let start = from + LATENCY + 100 * it;
        made.kernel(from + 3 * it, "volta_sgemm", (start, start + 100));
    }
}

#[test]
fn nothing_is_wrong_with_a_device_that_is_always_busy() {
    assert_eq!(diagnosed(&made(|made| busy(made, 0, 10))).hypotheses, Vec::new());
}

#[test]
fn a_device_that_waits_for_the_loader_is_diagnosed_as_data_loading() {
    let recording = made(|made| {
        busy(made, 0, 3);
        made.frame(FrameKind::Annotation, "enumerate(DataLoader)#Iter.__next__", (200, 900));
        busy(made, 905, 3);
    });
    let found = first(&recording, SlowdownCause::DataLoading);
    // The device is dry from 305 on, the loader is done at 900.
    assert_eq!(found.found_us.round(), 595.0);
    // Without it the host launches at 205, ahead of the device: all of 305 to 910.
    assert_eq!(worth(&found), 605.0);
    assert!(found.what.contains("DataLoader"), "{found:?}");
}

#[test]
fn a_device_that_is_dry_because_the_host_had_waited_is_a_hidden_synchronisation() {
    let recording = made(|made| {
        busy(made, 0, 3);
        made.frame(FrameKind::Operator, "aten::item", (10, 310));
        made.call(1, "cudaStreamSynchronize", (12, 306));
        busy(made, 400, 3);
    });
    let found = first(&recording, SlowdownCause::HiddenSynchronization);
    // 305 to 405; the rest of the call and the 94 after it are over long before 305.
    assert_eq!(worth(&found), 100.0);
    let what = &found.what;
    assert!(what.contains("cudaStreamSynchronize") && what.contains("aten::item"), "{what}");
}

#[test]
fn a_device_that_is_faster_than_launches_is_launch_bound() {
    let recording = made(|made| {
        for it in 0..20 {
            made.kernel(40 * it, "volta_sgemm", (40 * it + 5, 40 * it + 15));
        }
    });
    let found = first(&recording, SlowdownCause::LaunchBound);
    // 30 of each 40 are idle: of 19 x 40 + 10 there are 20 x 10 left.
    assert_eq!((found.found_us.round(), worth(&found)), (570.0, 570.0));
}

#[test]
fn communication_with_nothing_beside_it_is_exposed() {
    let recording = made_rank(0, 2, |made| {
        made.kernel(0, "volta_sgemm", (5, 105));
        made.collective(3, (7, 0, 2), (105, 185));
        made.kernel(6, "volta_sgemm", (185, 385));
    });
    let found = first(&recording, SlowdownCause::ExposedCommunication);
    assert_eq!((found.found_us.round(), worth(&found)), (80.0, 80.0));
}

#[test]
fn a_device_that_is_dry_while_the_driver_gives_memory_is_memory_pressure() {
    let recording = made(|made| {
        busy(made, 0, 3);
        made.call(1, "cudaMalloc", (50, 900));
        busy(made, 905, 3);
    });
    let found = first(&recording, SlowdownCause::MemoryPressure);
    assert_eq!(found.found_us.round(), 595.0);
    assert!(found.what.contains("cudaMalloc"), "{found:?}");
    assert!(worth(&found) >= 595.0, "{found:?}");
}

#[test]
fn the_rank_that_all_others_wait_for_is_the_straggler() {
    let rank = |rank: u64| {
        made_rank(rank, 4, |made| {
            let own = if rank == 2 { 190 } else { 100 };
            // The host is far ahead of the device.
            for it in 0..6 {
                let at = LATENCY + 200 * it;
                made.kernel(6 * it, "volta_sgemm", (at, at + own));
                made.collective(6 * it + 3, (7, it as u64, 4), (at + own, at + 200));
            }
        })
    };
    let recording = join((0..4).map(rank).collect()).expect("ranks of a job").recording;
    let diagnosis = diagnosed(&recording);
    let found = diagnosis.hypotheses.iter().find(|it| it.cause == SlowdownCause::Straggler);
    let found = found.unwrap_or_else(|| panic!("{:?}", diagnosis.hypotheses));
    assert!(found.what.contains("rank 2 is the last in 6 of 6"), "{found:?}");
    // The others wait 6 x 90 for it; that much the step saves if it is as fast as they are.
    assert_eq!((found.found_us.round(), worth(found)), (540.0, 540.0));
}

#[test]
fn kernels_slower_beside_communication_are_contention_and_different_work_is_not() {
    let found = |names: [&str; 2], blocks: u32| -> Vec<Hypothesis> {
        let recording = made_rank(0, 2, |made| slowed_by_communication(made, names, blocks));
        let hypotheses = diagnosed(&recording).hypotheses;
        hypotheses.into_iter().filter(|it| it.cause == SlowdownCause::Contention).collect()
    };
    // 5 x 15 beside it for 10 alone, 5 x 30 for 20: half as long again, and 25 and 50 lost.
    let slowed = found(PASSES, 4096);
    let [slowed] = &slowed[..] else { panic!("{slowed:?}") };
    assert!((slowed.found_us - 75.0).abs() < 1e-6, "{slowed:?}");
    assert!(slowed.what.contains("1.50 times as long"), "{slowed:?}");
    assert_eq!(slowed.evidence.len(), 3);
    // One name for both, and as many blocks as a device holds: persistent, and nothing compares.
    assert_eq!(found(["vectorized_elementwise"; 2], 132), []);
}
