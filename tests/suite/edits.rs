//! What-if on recordings made by hand: each answer is worked out on paper. Times are in
//! microseconds.

use crate::made::{Made, made, made_rank};
use stepcast::analysis::Answer;
use stepcast::explore::what_if::{Change, GpuSwap, what_if};
use stepcast::spec::DataSources;
use stepcast::timeline::FrameKind;
use stepcast::trace::Recording;
use stepcast::units::Seconds;
use stepcast::work::{Class, DType, GemmLayout, Kernel};

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
fn fused_passes_of_known_shapes_do_not_write_and_read_what_they_hand_on() {
    let shape: &[u64] = &[4096, 4096];
    let recording = made(|made| {
        // Reads two and writes one; reads one and writes one; of the third nothing is known.
        made.operator("aten::add", &[shape, shape], (0, 3));
        made.kernel(0, "vectorized_elementwise<add>", (5, 35));
        made.operator("aten::silu", &[shape], (3, 6));
        made.kernel(3, "vectorized_elementwise<silu>", (35, 55));
        made.kernel(6, "vectorized_elementwise<other>", (55, 65));
    });
    assert_eq!(steps(&recording, "fuse kernels class=elementwise"), (60.0, 60.0));
    // A third of 30 and a half of 20 are gone.
    assert_eq!(steps(&recording, "fuse kernels class=elementwise traffic=saved"), (60.0, 40.0));
}

#[test]
fn another_gpu_takes_what_its_models_say_of_the_recorded_shapes() {
    let sources = DataSources::shipped();
    // A product of few rows reads its weights: bandwidth counts, of which the H200 has 4.8 TB/s
    // for 3.35. The same time without a shape is taken for a square product, which peaks bound.
    let shapes: [&[u64]; 2] = [&[16, 8192], &[8192, 8192]];
    let name = "sm90_xmma_gemm_bf16bf16_bf16f32";
    let recording = made(|made| {
        made.operator("aten::mm", &shapes, (0, 3));
        made.kernel(0, name, (5, 65));
        made.kernel(6, name, (65, 125));
    });
    let text = "set gpu=h200-sxm-141gb from=h100-sxm-80gb";
    let change = [(text.to_owned(), Change::parse(text).unwrap())];
    let answer = what_if(&recording, &change, &sources).expect("an answer").0;
    let priced = answer.changes[0].priced.expect("prices");
    assert_eq!((priced.by_shape_count, priced.by_time_count, priced.unchanged_count), (1, 1, 0));
    assert!((priced.by_shape_fraction - 0.5).abs() < 1e-9, "{priced:?}");
    let mut swap = GpuSwap::new(&sources, "h100-sxm-80gb", "h200-sxm-141gb").unwrap();
    let product = Kernel::Gemm {
        m: 16,
        n: 8192,
        k: 8192,
        batch: 1,
        dtype: DType::Bf16,
        output: DType::Bf16,
        layout: GemmLayout::Tn,
        accumulate: false,
    };
    let by_shape = swap.factor_of_shape(&product);
    let by_time = swap.factor(Class::Gemm, name, Seconds::new(60e-6));
    assert!(by_shape < 0.85 && by_time > 0.9, "{by_shape} {by_time}");
    assert!((answer.after_us - 60.0 * (by_shape + by_time)).abs() < 0.01, "{answer:?}");
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

/// Work of six streams (the sixth ends at 320), for all of which the work launched next on stream
/// 7 behind `before` (23-33) waits.
fn six_waits(made: &mut Made<'_>) {
    for it in 0..6 {
        let end = if it == 5 { 320 } else { 3 * it + 25 };
        made.kernel_of(1, 3 * it, "volta_sgemm", 10 + it, (3 * it + 5, end));
    }
    made.kernel(18, "before", (23, 33));
    (0..6).for_each(|it| made.stated_wait(21 + 2 * it, 7, 10 + it));
}

#[test]
fn overlapped_communication_keeps_all_its_waits() {
    let recording = made_rank(0, 2, |made| {
        six_waits(made);
        made.collective(34, (7, 0, 2), (320, 420));
        made.kernel(37, "after", (420, 520));
    });
    // The seventh wait is for `before`. From 5 on: the sixth stream to 320, then 100; `after` is
    // done long before.
    assert_eq!(steps(&recording, "overlap"), (515.0, 415.0));
}

#[test]
fn with_a_kernel_all_its_waits_are_gone() {
    let recording = made(|made| {
        for it in 0..8 {
            let end = if it == 1 { 320 } else { 3 * it + 25 };
            made.kernel_of(1, 3 * it, "volta_sgemm", 10 + it, (3 * it + 5, end));
        }
        (0..8).for_each(|it| made.stated_wait(24 + 2 * it, 7, 10 + it));
        made.kernel(40, "gone", (320, 330));
        made.kernel(43, "after", (330, 530));
    });
    // `after` follows its launch at 41 by 5 then, beside the second stream.
    assert_eq!(steps(&recording, "remove kernels name=gone"), (525.0, 315.0));
}

const PASSES: [&str; 2] = ["vectorized_elementwise<short>", "vectorized_elementwise<long>"];

/// Passes of 10 and 20, four of each alone (5-125), then five of each beside a collective on a
/// stream of its own (125-350), where they take 15 and 30.
fn slowed_by_communication(made: &mut Made<'_>, [short, long]: [&str; 2], blocks: u32) {
    let (mut launched, mut end) = (0, 5);
    let mut passes = |made: &mut Made<'_>, times: [(&str, i64); 2], count: i64| {
        for (name, time) in times {
            for _ in 0..count {
                made.kernel_of_blocks(launched, name, blocks, (end, end + time));
                (launched, end) = (launched + 3, end + time);
            }
        }
        launched += 6;
    };
    passes(made, [(short, 10), (long, 20)], 4);
    made.stated_wait(24, 20, 7);
    made.collective(27, (20, 0, 2), (125, 350));
    passes(made, [(short, 15), (long, 30)], 5);
}

#[test]
fn kernels_that_communication_slowed_are_faster_without_it() {
    let recording = made_rank(0, 2, |made| slowed_by_communication(made, PASSES, 4096));
    // 120 as before, then 5 x 10 and 5 x 20.
    let change = "remove kernels class=communication";
    assert_eq!(steps(&recording, change), (345.0, 270.0));
    // 112.5 beside it do the work of 75 alone, of 150; the rest takes 75.
    let change = "scale kernels class=communication time=0.5";
    assert_eq!(steps(&recording, change), (345.0, 307.5));
    let used = answer(&recording, &[change]).interference;
    assert!(used.untold.is_empty(), "{used:?}");
    let [factor] = &used.factors[..] else { panic!("{used:?}") };
    assert!((factor.factor - 1.5).abs() < 1e-9, "{factor:?}");
    assert_eq!((factor.kernel_count, factor.beside_count, factor.alone_count), (18, 10, 8));
}

#[test]
fn kernels_that_come_to_run_beside_communication_slow() {
    let recording = made_rank(0, 2, |made| {
        slowed_by_communication(made, PASSES, 4096);
        made.collective(63, (7, 1, 2), (350, 450));
        for it in 0..10 {
            made.kernel_of_blocks(66 + 3 * it, PASSES[0], 4096, (450 + 10 * it, 460 + 10 * it));
        }
    });
    // Beside the second collective (350-450) they do the work of 66.7; 33.3 are left.
    assert_eq!(steps(&recording, "overlap"), (545.0, 478.333));
}

#[test]
fn where_a_recording_does_not_tell_nothing_slows() {
    // As many blocks as a device holds at once, for work that differs: the kernels are persistent.
    let names = ["vectorized_elementwise"; 2];
    let recording = made_rank(0, 2, |made| slowed_by_communication(made, names, 132));
    assert_eq!(steps(&recording, "remove kernels class=communication"), (345.0, 345.0));
    let used = answer(&recording, &["scale kernels time=1"]).interference;
    let [untold] = &used.untold[..] else { panic!("{used:?}") };
    assert_eq!((untold.class.as_str(), untold.kernel_count), ("elementwise", 18));
    assert!(used.factors.is_empty() && untold.time_fraction > 0.999, "{used:?}");
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

/// `late` is launched at 2000 and starts at 2305, 300 later than it could.
#[test]
fn what_late_starts_make_of_an_answer_is_told() {
    let recording = made(|made| {
        made.kernel(0, "first", (5, 1005));
        made.kernel(1010, "second", (1015, 1115));
        made.kernel(2000, "late", (2305, 2405));
    });
    let answer = answer(&recording, &["scale kernels name=late time=0.5"]);
    assert!((answer.worth_us - 50.0).abs() < 1e-6, "{answer:?}");
    assert!((answer.worth_if_punctual_us - 50.0).abs() < 1e-6, "{answer:?}");
    let answer = self::answer(&recording, &["remove kernels name=late"]);
    // Until 2405 before, 1115 after; until 2105 if it were not late.
    assert!((answer.worth_us - 1290.0).abs() < 1e-6, "{answer:?}");
    assert!((answer.worth_if_punctual_us - 990.0).abs() < 1e-6, "{answer:?}");
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
