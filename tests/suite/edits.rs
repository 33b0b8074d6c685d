//! What-if on recordings made by hand: each answer is worked out on paper. Times are in
//! microseconds.

use crate::made::{Made, made, made_rank};
use stepcast::analysis::Answer;
use stepcast::explore::what_if::{Change, what_if};
use stepcast::spec::DataSources;
use stepcast::timeline::FrameKind;
use stepcast::trace::Recording;

fn asked(recording: &Recording, changes: &[&str]) -> Result<Answer, String> {
    let change = |text: &&str| ((*text).to_owned(), Change::parse(text).expect("a change"));
    let changes: Vec<_> = changes.iter().map(change).collect();
    let answer = what_if(recording, &changes, &DataSources::default());
    answer.map(|it| it.0).map_err(|error| error.to_string())
}

fn answer(recording: &Recording, changes: &[&str]) -> Answer {
    asked(recording, changes).expect("an answer")
}

/// Step before and after, to a thousandth of a microsecond.
fn steps(recording: &Recording, change: &str) -> (f64, f64) {
    let answer = answer(recording, &[change]);
    let round = |time: f64| (time * 1e3).round() / 1e3;
    (round(answer.before_us), round(answer.after_us))
}

/// Ten kernels of 100, launched every 3 and so back to back on the device from 5 on.
fn device_bound() -> Recording {
    made(|made| (0..10).for_each(|it| made.kernel(3 * it, "sgemm", (5 + 100 * it, 105 + 100 * it))))
}

/// Ten kernels of 5, launched every 20 as the device runs dry.
fn launch_bound(made: &mut Made<'_>) {
    for it in 0..10 {
        made.kernel(20 * it, "vectorized_elementwise", (20 * it + 5, 20 * it + 10));
    }
}

#[test]
fn kernels_twice_as_fast_halve_a_step_that_the_device_bounds() {
    // 10 x 100 and 10 x 50; the host is done at 29.
    assert_eq!(steps(&device_bound(), "scale kernels time=0.5"), (1000.0, 500.0));
}

#[test]
fn kernels_twice_as_fast_change_little_where_the_host_bounds() {
    // The last starts at 185 whatever they take: 180 + 5, and 180 + 2.5.
    assert_eq!(steps(&made(launch_bound), "scale kernels time=0.5"), (185.0, 182.5));
}

#[test]
fn without_a_synchronisation_exactly_the_idle_time_after_it_is_gone() {
    // The device does nothing from 105 to 121: the host notices at 106 and launches at 116.
    let recording = made(|made| {
        made.kernel(0, "first", (5, 105));
        made.call(1, "cudaStreamSynchronize", (3, 106));
        made.kernel(116, "second", (121, 221));
    });
    assert_eq!(steps(&recording, "remove sync"), (216.0, 200.0));
    let answer = answer(&recording, &["remove sync name=StreamSynchronize"]);
    assert_eq!(answer.changes[0].touched, 1);
    assert!(answer.bottleneck_before.idle_fraction > 0.07, "{answer:?}");
    assert!(answer.bottleneck_after.idle_fraction < 1e-9, "{answer:?}");
}

/// On stream 7 `before` (5-105) and `gone` (105-205); `after` waits for it on stream 9 (205-305).
fn chain() -> Recording {
    made(|made| {
        made.kernel(0, "before", (5, 105));
        made.kernel(3, "gone", (105, 205));
        made.stated_wait(6, 9, 7);
        made.kernel_of(1, 9, "after", 9, (205, 305));
    })
}

#[test]
fn what_waited_for_a_kernel_that_is_gone_waits_for_the_one_before_it() {
    // Had the wait gone too, `after` would run beside `before`, and the step be 109.
    assert_eq!(steps(&chain(), "remove kernels name=gone"), (300.0, 200.0));
}

#[test]
fn fused_kernels_take_the_sum_of_their_times_and_one_launch() {
    // The device is never idle, so that one kernel of the same time changes nothing.
    assert_eq!(steps(&device_bound(), "fuse kernels name=sgemm"), (1000.0, 1000.0));
    assert_eq!(steps(&device_bound(), "fuse kernels name=sgemm time=0.7"), (1000.0, 700.0));
    // One launch, then 10 x 5; nine of ten are gone.
    let recording = made(launch_bound);
    assert_eq!(steps(&recording, "fuse kernels class=elementwise"), (185.0, 50.0));
    assert_eq!(answer(&recording, &["fuse kernels class=elementwise"]).changes[0].touched, 9);
}

#[test]
fn a_graph_takes_the_launches_and_the_time_between_them_away() {
    // What is left is 10 x 5, one after another.
    assert_eq!(steps(&made(launch_bound), "graph"), (185.0, 50.0));
    // A step that the device bounds has nothing to gain.
    assert_eq!(steps(&device_bound(), "graph"), (1000.0, 1000.0));
}

#[test]
fn host_time_inside_of_a_frame_is_gone_and_that_beside_it_stays() {
    let recording = made(|made| {
        made.kernel(0, "first", (5, 15));
        made.frame(FrameKind::Annotation, "enumerate(DataLoader)#next", (100, 1100));
        made.kernel(1200, "second", (1205, 1215));
    });
    // The host launches at 200 then.
    let change = "remove host within=DataLoader";
    assert_eq!(steps(&recording, change), (1210.0, 210.0));
    // Half of the 1000 in there.
    let change = "scale host within=DataLoader time=0.5";
    assert_eq!(steps(&recording, change), (1210.0, 710.0));
}

/// Collectives of 20 and of 100 back to back, of a group of two ranks.
fn network() -> Recording {
    made_rank(0, 2, |made| {
        made.collective(0, (7, 0, 2), (5, 25));
        made.collective(3, (7, 1, 2), (25, 125));
    })
}

#[test]
fn links_change_the_part_of_bytes_and_the_part_of_latency() {
    // The shortest, 20, is latency: 20 + 0, and 20 + 80.
    assert_eq!(steps(&network(), "scale network bandwidth=2"), (120.0, 80.0));
    assert_eq!(steps(&network(), "scale network latency=0.5"), (120.0, 100.0));
    assert_eq!(steps(&network(), "scale network bandwidth=4 latency=2"), (120.0, 100.0));
}

#[test]
fn more_ranks_in_a_ring_send_more_over_more_hops() {
    // From 2 to 4 ranks: (3/4) / (1/2) of the bytes, 3 hops for 1: 2 x 60, and 80 x 1.5.
    assert_eq!(steps(&network(), "set data_parallel=4"), (120.0, 240.0));
    // A single rank sends nothing: what is left is the 3 between the launches.
    assert_eq!(steps(&network(), "set data_parallel=1"), (120.0, 3.0));
}

#[test]
fn overlapped_communication_runs_beside_what_came_after_it() {
    let recording = made_rank(0, 2, |made| {
        made.kernel(0, "volta_sgemm", (5, 105));
        made.collective(3, (7, 0, 2), (105, 165));
        made.kernel(6, "volta_sgemm", (165, 265));
        made.kernel(9, "adam", (265, 275));
    });
    // Beside the second of 100, after the first.
    assert_eq!(steps(&recording, "overlap"), (270.0, 210.0));
    // Beside nothing if the next kernel of that name needs it.
    assert_eq!(steps(&recording, "overlap until=sgemm"), (270.0, 270.0));
    assert_eq!(steps(&recording, "overlap until=adam"), (270.0, 210.0));
}

#[test]
fn changes_that_are_worth_something_only_together_interact() {
    // Two streams of 100 side by side: half of one is worth nothing.
    let recording = made(|made| {
        made.kernel_of(1, 0, "left", 7, (5, 105));
        made.kernel_of(1, 3, "right", 9, (8, 108));
    });
    let changes = ["scale kernels name=left time=0.5", "scale kernels name=right time=0.5"];
    let answer = answer(&recording, &changes);
    // 103 before. Alone 103 and 100 (`left` is the longer by then), together 53.
    let steps: Vec<f64> = answer.changes.iter().map(|one| one.step_us.round()).collect();
    assert_eq!(steps, [103.0, 100.0]);
    assert!((answer.after_us - 53.0).abs() < 1e-6, "{answer:?}");
    assert!((answer.interaction_us - (50.0 - 0.0 - 3.0)).abs() < 1e-6, "{answer:?}");
}

#[test]
fn a_change_that_selects_nothing_is_an_error() {
    for change in [
        "scale kernels name=flash time=0.5",
        "remove kernels class=attention",
        "fuse kernels class=norm",
        "remove sync",
        "remove host within=nowhere",
        "graph rank=7",
        "scale network bandwidth=2",
        "overlap",
        "set data_parallel=4",
    ] {
        let error = asked(&device_bound(), &[change]).expect_err(change);
        assert!(error.contains(change) && error.contains("selects nothing"), "{error}");
    }
}
