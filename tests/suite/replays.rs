//! Replays of recordings made by hand: what is known is kept, what is guessed is counted, what
//! nobody knows is told. Times are in microseconds.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::made::{LATENCY, Made, made, made_rank};
use stepcast::explore::what_if::{Change, apply};
use stepcast::program::Stream;
use stepcast::replay::{Replay, judge, prepare, run};
use stepcast::spec::DataSources;
use stepcast::timeline::SpanId;
use stepcast::trace::{DeviceKind, Recording, join};
use stepcast::units::Instant;

fn replayed(recording: &Recording) -> Replay {
    run(&prepare(recording)).expect("it ends")
}

/// A replay with a change.
fn changed(recording: &Recording, change: &str) -> Replay {
    let mut prepared = prepare(recording);
    let change = Change::parse(change).expect("a change");
    apply(&mut prepared, &change, &DataSources::default()).expect("it selects something");
    run(&prepared).expect("it ends")
}

/// When the work of a name began and ended, of each rank in order.
fn times_of(recording: &Recording, replay: &Replay, name: &str) -> Vec<(u64, u64)> {
    let named = (0..recording.timeline.spans.len() as u32)
        .filter(|&span| recording.is_device(SpanId(span)) && recording.name(SpanId(span)) == name);
    let us = |at: Instant| at.ps() / 1_000_000;
    let mut found: Vec<(u32, (u64, u64))> = named
        .map(|span| {
            let (from, to) = replay.times[span as usize].expect("it ran");
            (recording.timeline.spans[span as usize].process, (us(from), us(to)))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|one| one.1).collect()
}

fn time_of(recording: &Recording, replay: &Replay, name: &str) -> (u64, u64) {
    let found = times_of(recording, replay, name);
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

#[test]
fn more_streams_than_the_engine_tells_apart_are_replayed_as_one_and_that_is_told() {
    let count = Stream::RECORDED_COUNT as i64 + 3;
    let recording = made(|made| {
        (0..count).for_each(|stream| {
            made.kernel_of(1, 9 * stream, "kernel", stream, (9 * stream + 5, 9 * stream + 6));
        });
    });
    let replay = replayed(&recording);
    assert_eq!(replay.times.iter().flatten().count(), count as usize);
    assert_eq!(
        replay.warnings,
        ["a rank has 65527 streams; all beyond the first 65523 are replayed as one"]
    );
}

/// `first` runs 5-305; `second`, launched at 7 on another stream, begins when it is done.
fn one_stream_after_another(is_stated: bool) -> Recording {
    made(|made| {
        made.kernel(0, "first", (5, 305));
        if is_stated {
            made.stated_wait(3, 9, 7);
        }
        made.kernel_of(1, 7, "second", 9, (305, 405));
    })
}

#[test]
fn a_wait_that_the_recording_states_is_kept() {
    let recording = one_stream_after_another(true);
    let replay = replayed(&recording);
    assert_eq!((replay.guesses.stated_waits, replay.guesses.inferred_waits), (1, 0));
    assert_eq!(time_of(&recording, &replay, "second"), (305, 405));
    assert_eq!(replay.ranks[0].window.unexplained_us, 0.0);
    // 300 becomes 150: the other stream goes on at 5 + 150.
    let faster = changed(&recording, "scale kernels name=first time=0.5");
    assert_eq!(time_of(&recording, &faster, "second"), (155, 255));
}

#[test]
fn a_wait_that_must_have_been_is_kept_and_counted_as_inferred() {
    let recording = one_stream_after_another(false);
    let replay = replayed(&recording);
    assert_eq!((replay.guesses.stated_waits, replay.guesses.inferred_waits), (0, 1));
    let faster = changed(&recording, "scale kernels name=first time=0.5");
    assert_eq!(time_of(&recording, &faster, "second"), (155, 255));
}

/// `first` runs 5-305 and fills the device; `second`, launched at 7 on another stream, begins at
/// `start` and runs until 405.
fn beside_a_kernel_that_fills_the_device(start: i64) -> Recording {
    made(|made| {
        made.kernel(0, "first", (5, 305));
        made.kernel_of(1, 7, "second", 9, (start, 405));
    })
}

#[test]
fn work_that_begins_as_other_work_ends_waited_for_its_room() {
    let recording = beside_a_kernel_that_fills_the_device(290);
    let replay = replayed(&recording);
    assert_eq!(replay.guesses.inferred_waits, 1);
    assert_eq!(replay.ranks[0].window.unexplained_us, 0.0);
    // Beside the last blocks of the other it is taken not to have run: it ends when it did.
    assert_eq!(time_of(&recording, &replay, "second"), (305, 405));
    let faster = changed(&recording, "scale kernels name=first time=0.5");
    assert_eq!(time_of(&recording, &faster, "second"), (155, 255));
}

#[test]
fn work_that_begins_in_the_midst_of_other_work_did_not_wait_for_it() {
    let recording = beside_a_kernel_that_fills_the_device(205);
    let replay = replayed(&recording);
    assert_eq!(replay.guesses.inferred_waits, 0);
    assert!(replay.ranks[0].window.unexplained_us > 180.0, "{:?}", replay.ranks[0].window);
    // Nobody knows why it was late, so it stays so.
    assert_eq!(time_of(&recording, &replay, "second"), (205, 405));
    let faster = changed(&recording, "scale kernels name=first time=0.5");
    assert_eq!(time_of(&recording, &faster, "second"), (205, 405));
}

/// On one stream `a` runs 5-105 and `second`, launched at 7, follows; on another `thief`, launched
/// at 50 and so later, runs 55-300.
#[test]
fn work_launched_later_may_take_the_room_first() {
    let recording = made(|made| {
        made.kernel_of(1, 0, "a", 9, (5, 105));
        made.kernel_of(1, 7, "second", 9, (305, 405));
        made.kernel_of(2, 50, "thief", 10, (55, 300));
    });
    let replay = replayed(&recording);
    assert_eq!((replay.guesses.inferred_waits, replay.guesses.waits_for_room), (0, 1));
    assert_eq!(replay.ranks[0].window.unexplained_us, 0.0);
    assert_eq!(time_of(&recording, &replay, "second"), (305, 405));
    // It is no order: `second` would not wait for the other, only as long as it did.
    let slower = changed(&recording, "scale kernels name=thief time=10");
    assert_eq!(time_of(&recording, &slower, "second"), (305, 405));
}

/// `second`, launched at 7 on a stream of its own, needs what `first` computes until 305, and then
/// room that `next`, behind `first` and launched later, holds until 505.
#[test]
fn a_result_and_then_room_are_two_causes() {
    let recording = made(|made| {
        made.kernel(0, "first", (5, 305));
        made.kernel_of(1, 7, "second", 9, (505, 605));
        made.kernel(20, "next", (305, 505));
    });
    let replay = replayed(&recording);
    assert_eq!((replay.guesses.inferred_waits, replay.guesses.waits_for_room), (1, 1));
    assert_eq!(replay.ranks[0].window.unexplained_us, 0.0);
    assert_eq!(time_of(&recording, &replay, "second"), (505, 605));
    // 300 becomes 30: it goes on at 5 + 30, and 200 for the room.
    let faster = changed(&recording, "scale kernels name=first time=0.1");
    assert_eq!(time_of(&recording, &faster, "second"), (235, 335));
}

/// The last kernel is launched on an idle stream at 2000 and starts `late` after it could.
fn with_a_late_start(late: i64) -> Recording {
    made(|made| {
        made.kernel(0, "first", (5, 1005));
        made.kernel(1010, "second", (1015, 1115));
        let start = 2000 + LATENCY + late;
        made.kernel(2000, "late", (start, start + 100));
    })
}

#[test]
fn a_start_without_a_cause_is_unexplained_by_as_much_as_it_is_late() {
    // Of 2100 + 300 us from the first start to the last end, 300 are unexplained: 12.5 %.
    let replay = replayed(&with_a_late_start(300));
    let window = &replay.ranks[0].window;
    assert!((window.unexplained_us - 300.0).abs() < 1e-6, "{window:?}");
    assert!((window.unexplained_fraction - 0.125).abs() < 1e-9, "{window:?}");
    assert_eq!(replay.warnings.len(), 1, "{:?}", replay.warnings);
    let warning = &replay.warnings[0];
    assert!(warning.starts_with("rank 0: 12.5 % of the time"), "{warning}");
    assert!(warning.contains("`late` at 2305 us by 300 us"), "{warning}");
}

#[test]
fn a_start_without_a_cause_stays_late_and_it_is_told_how_it_would_go_otherwise() {
    let recording = with_a_late_start(300);
    let replay = judge(&prepare(&recording)).expect("it ends");
    assert_eq!(time_of(&recording, &replay, "late"), (2305, 2405));
    let window = &replay.ranks[0].window;
    assert!((window.replayed_us - 2400.0).abs() < 1e-6, "{window:?}");
    assert!((window.punctual_us.expect("asked for") - 2100.0).abs() < 1e-6, "{window:?}");
}

#[test]
fn little_unexplained_time_is_told_but_no_reason_to_warn() {
    // 100 of 2200 us are 4.5 %.
    let replay = replayed(&with_a_late_start(100));
    assert!((replay.ranks[0].window.unexplained_us - 100.0).abs() < 1e-6);
    assert_eq!(replay.warnings, Vec::<String>::new());
}

/// `.item()`: the copy call returns 10 after the copy, which has to wait for the kernel before it.
#[test]
fn a_copy_that_blocks_holds_the_host_until_it_is_done() {
    let recording = made(|made| {
        made.kernel(0, "before", (5, 205));
        let call = made.call(1, "cudaMemcpyAsync", (10, 220));
        let copy = (DeviceKind::Copy, "Memcpy DtoH (Device -> Pageable)");
        made.device(Some(call), copy, 7, (205, 210), None);
        made.kernel(225, "after", (230, 240));
    });
    let replay = replayed(&recording);
    assert_eq!(time_of(&recording, &replay, "after"), (230, 240));
    // 100 less of the kernel are 100 less until the host goes on.
    let faster = changed(&recording, "scale kernels name=before time=0.5");
    assert_eq!(time_of(&recording, &faster, "after"), (130, 140));
    // Without waiting, what is left of the calls are 10 after the copy call and 5 between: at 10
    // the copy is put there, at 25 the kernel, which comes behind the copy at 210.
    let free = changed(&recording, "remove sync name=memcpy");
    assert_eq!(time_of(&recording, &free, "after"), (210, 220));
}

/// The main thread waits for `forward` and hands over to the other, which launches `backward`;
/// then the main thread goes on with `optimizer`.
#[test]
fn host_threads_that_take_turns_do_so_when_times_change() {
    let recording = made(|made| {
        made.kernel(0, "forward", (5, 105));
        made.call(1, "cudaStreamSynchronize", (3, 106));
        made.kernel_of(2, 250, "backward", 7, (255, 265));
        made.kernel(400, "optimizer", (405, 415));
    });
    let replay = replayed(&recording);
    assert_eq!((replay.guesses.handovers, replay.guesses.synchronizations), (2, 1));
    assert_eq!(time_of(&recording, &replay, "backward"), (255, 265));
    assert_eq!(time_of(&recording, &replay, "optimizer"), (405, 415));
    let faster = changed(&recording, "scale kernels name=forward time=0.5");
    assert_eq!(time_of(&recording, &faster, "backward"), (205, 215));
    assert_eq!(time_of(&recording, &faster, "optimizer"), (355, 365));
}

/// Ranks that compute for different times before each of some collectives of 10.
fn job(compute: [i64; 2]) -> Recording {
    let rank = |rank: u64| {
        made_rank(rank, 2, |made| {
            let [own, other] = [compute[rank as usize], compute[1 - rank as usize]];
            let mut at = LATENCY;
            for sequence in 0..4 {
                made.kernel(at - LATENCY, "sgemm", (at, at + own));
                let arrived = at + own;
                let end = at + own.max(other) + 10;
                made.collective(at - LATENCY + 3, (7, sequence, 2), (arrived, end));
                at = end + 20;
            }
        })
    };
    join(vec![rank(0), rank(1)]).expect("ranks of a job").recording
}

#[test]
fn a_collective_of_ranks_that_were_joined_waits_for_the_last() {
    let recording = job([20, 90]);
    assert_eq!(recording.timeline.meetings.len(), 4);
    let name = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgs)";
    let first_of = |replay: &Replay| {
        let all = times_of(&recording, replay, name);
        assert_eq!(all.len(), 8);
        [all[0], all[4]]
    };
    // Rank 0 arrives at 25 and rank 1 at 95; data moves for 10.
    assert_eq!(first_of(&replayed(&recording)), [(25, 105), (95, 105)]);
    // Rank 1 arrives at 5 + 45 then.
    let faster = changed(&recording, "scale kernels rank=1 class=gemm time=0.5");
    assert_eq!(first_of(&faster), [(25, 60), (50, 60)]);
    // The one that waits gains nothing by being faster.
    let waiting = changed(&recording, "scale kernels rank=0 class=gemm time=0.5");
    assert_eq!(first_of(&waiting), [(15, 105), (95, 105)]);
}

#[test]
fn a_replay_of_the_same_recording_is_the_same_every_time() {
    let recording = job([20, 90]);
    let (one, other) = (replayed(&recording), replayed(&recording));
    assert_eq!((one.timeline, one.times), (other.timeline, other.times));
}

/// Something that a host thread does: a launch (thread, stream, call, duration), or a call that
/// waits.
#[derive(Clone, Debug)]
enum Doing {
    Launch { thread: u64, stream: i64, between: i64, call: i64, time: i64, late: i64 },
    Copy { thread: u64, stream: i64, between: i64, time: i64 },
    Wait { thread: u64, between: i64, call: i64, name: &'static str },
    StreamWaits { waiting: i64, source: i64 },
    Orphan { stream: i64, time: i64 },
}

fn doing() -> impl Strategy<Value = Doing> {
    let waits = prop_oneof![
        Just("cudaStreamSynchronize"),
        Just("cudaEventSynchronize"),
        Just("cudaDeviceSynchronize"),
        Just("cudaFree"),
        Just("cudaMalloc"),
        Just("cudaStreamWaitEvent"),
    ];
    let late = prop_oneof![4 => Just(0_i64), 1 => 0..400_i64];
    prop_oneof![
        6 => (1..4_u64, 0..4_i64, 0..300_i64, 0..30_i64, 0..200_i64, late).prop_map(
            |(thread, stream, between, call, time, late)| Doing::Launch {
                thread, stream, between, call, time, late
            }
        ),
        2 => (1..4_u64, 0..4_i64, 0..300_i64, 0..50_i64).prop_map(
            |(thread, stream, between, time)| Doing::Copy { thread, stream, between, time }
        ),
        2 => (1..4_u64, 0..300_i64, 0..500_i64, waits).prop_map(
            |(thread, between, call, name)| Doing::Wait { thread, between, call, name }
        ),
        1 => (0..4_i64, 0..4_i64)
            .prop_map(|(waiting, source)| Doing::StreamWaits { waiting, source }),
        1 => (0..4_i64, 0..100_i64).prop_map(|(stream, time)| Doing::Orphan { stream, time }),
    ]
}

/// When each thread and stream is free, and when something was put on each stream last.
#[derive(Default)]
struct Clocks {
    threads: [i64; 8],
    streams: [i64; 8],
    put: [i64; 8],
}

impl Clocks {
    /// A call of a thread from some time after its last one on.
    fn begin(&self, thread: u64, between: i64) -> i64 {
        self.threads[thread as usize] + between
    }

    /// A call that puts work on a stream, where no thread may overtake another.
    fn put(&mut self, thread: u64, between: i64, stream: i64) -> i64 {
        let at = self.begin(thread, between).max(self.put[stream as usize] + 1);
        self.put[stream as usize] = at;
        at
    }

    /// Work of a stream that is there at a time.
    fn occupy(&mut self, stream: i64, there: i64, time: i64) -> (i64, i64) {
        let start = there.max(self.streams[stream as usize]);
        self.streams[stream as usize] = start + time;
        (start, start + time)
    }
}

fn act(made: &mut Made<'_>, clocks: &mut Clocks, doing: &Doing) {
    match *doing {
        Doing::Launch { thread, stream, between, call, time, late } => {
            let at = clocks.put(thread, between, stream);
            let extent = clocks.occupy(stream, at + LATENCY + late, time);
            let id = made.call(thread, "cudaLaunchKernel", (at, at + call));
            made.device(Some(id), (DeviceKind::Kernel, "kernel"), stream, extent, None);
            clocks.threads[thread as usize] = at + call;
        }
        Doing::Copy { thread, stream, between, time } => {
            let at = clocks.put(thread, between, stream);
            let extent = clocks.occupy(stream, at + LATENCY, time);
            let id = made.call(thread, "cudaMemcpyAsync", (at, extent.1 + 3));
            made.device(Some(id), (DeviceKind::Copy, "Memcpy DtoH"), stream, extent, None);
            clocks.threads[thread as usize] = extent.1 + 3;
        }
        Doing::Wait { thread, between, call, name } => {
            let at = clocks.begin(thread, between);
            let until = clocks.streams.iter().copied().filter(|it| it % 2 == 0).max();
            let end = until.unwrap_or(0).max(at + call);
            made.call(thread, name, (at, end));
            clocks.threads[thread as usize] = end;
        }
        Doing::StreamWaits { waiting, source } => {
            let at = clocks.begin(1, 1);
            made.stated_wait(at, waiting, source);
            clocks.threads[1] = at + 2;
            let after = clocks.streams[source as usize];
            clocks.streams[waiting as usize] = clocks.streams[waiting as usize].max(after);
        }
        Doing::Orphan { stream, time } => {
            let extent = clocks.occupy(stream, 0, time);
            clocks.put[stream as usize] = clocks.put[stream as usize].max(extent.0);
            made.device(None, (DeviceKind::Kernel, "orphan"), stream, extent, None);
        }
    }
}

/// Work on each stream, in microseconds.
fn busiest_us(recording: &Recording) -> f64 {
    let mut streams = std::collections::BTreeMap::new();
    for span in recording.timeline.spans.iter().filter(|span| !span.lane.is_host()) {
        *streams.entry(span.lane).or_insert(0.0) += (span.end - span.start).value() * 1e6;
    }
    streams.into_values().fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_recording_replays_to_its_end(all in proptest::collection::vec(doing(), 0..60)) {
        let recording = made(|made| {
            let mut clocks = Clocks::default();
            all.iter().for_each(|doing| act(made, &mut clocks, doing));
        });
        let replay = run(&prepare(&recording));
        prop_assert!(replay.is_ok(), "{:?}", replay.err());
        let replay = replay.unwrap();
        let device = recording.timeline.spans.iter().filter(|span| !span.lane.is_host()).count();
        prop_assert_eq!(replay.times.iter().flatten().count(), device);
        let window = replay.ranks.first().map_or(0.0, |rank| rank.window.replayed_us);
        prop_assert!(window >= busiest_us(&recording) - 1e-3, "{} us", window);
        prop_assert_eq!(replay.timeline, run(&prepare(&recording)).unwrap().timeline);
    }

    #[test]
    fn a_host_that_takes_no_time_leaves_the_work_of_the_busiest_stream(
        all in proptest::collection::vec(doing(), 1..60)
    ) {
        let recording = made(|made| {
            let mut clocks = Clocks::default();
            all.iter().for_each(|doing| act(made, &mut clocks, doing));
        });
        let mut prepared = prepare(&recording);
        let change = Change::parse("scale host time=0").unwrap();
        // There may be no host time to take away.
        let _ = apply(&mut prepared, &change, &DataSources::default());
        let replay = run(&prepared);
        prop_assert!(replay.is_ok(), "{:?}", replay.err());
        let window = replay.unwrap().ranks.first().map_or(0.0, |rank| rank.window.replayed_us);
        prop_assert!(window >= busiest_us(&recording) - 1e-3, "{} us", window);
    }
}
