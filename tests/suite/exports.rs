//! What is written for viewers is read back as what it was: the same work, times and steps on the
//! same ranks.

use proptest::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::made::{Made, made_rank};
use stepcast::analysis::{Profile, ProfileOptions, RankProfile, profile};
use stepcast::replay::{prepare, run};
use stepcast::report::write_trace;
use stepcast::timeline::{FrameKind, Timeline};
use stepcast::trace::{Classes, DeviceKind, Options, Recording, join, open};

/// Times that may differ: borders are written in whole nanoseconds.
const ROUNDING_US: f64 = 2.0;

fn read_back(timeline: &Timeline) -> Recording {
    let mut bytes = Vec::new();
    write_trace(timeline, &mut bytes).expect("written to memory");
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: true, shapes: false };
    open("export", bytes.as_slice()).unwrap().read(None, &options).expect("what we wrote")
}

fn profiled(timeline: &Timeline) -> Profile {
    profile(timeline, &ProfileOptions::default())
}

/// What of a rank must come back; names of streams, and where the host was, among it.
fn figures(rank: &RankProfile) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    let mut add = |of: String, value: &serde_json::Value| {
        for (key, value) in value.as_object().expect("an object") {
            if let Some(number) = value.as_f64() {
                figures.push((format!("{of} {key}"), number));
            }
        }
    };
    let json = serde_json::to_value(rank).expect("numbers");
    add("rank".to_owned(), &json);
    add("idle".to_owned(), &json["idle_causes"]);
    for (list, name) in [("steps", "step"), ("kinds", "kind"), ("streams", "stream")] {
        for (index, one) in json[list].as_array().expect("a list").iter().enumerate() {
            let of = format!("{list} {index} {}", one[name]);
            add(of.clone(), one);
            if list == "streams" {
                add(of, &one["idle_causes"]);
            }
        }
    }
    figures
}

fn assert_same(before: &Timeline, after: &Timeline, tolerance_us: f64, what: &str) {
    let ranks = |timeline: &Timeline| -> Vec<u64> {
        timeline.processes.iter().map(|process| process.rank).collect()
    };
    assert_eq!(ranks(before), ranks(after), "{what}");
    let (old, new) = (profiled(before), profiled(after));
    for (index, (old, new)) in old.ranks.iter().zip(&new.ranks).enumerate() {
        let (old, new) = (figures(old), figures(new));
        let keys = |figures: &[(String, f64)]| -> Vec<String> {
            figures.iter().map(|figure| figure.0.clone()).collect()
        };
        assert_eq!(keys(&old), keys(&new), "{what}, process {index}");
        for ((key, old), (_, new)) in old.iter().zip(&new) {
            let apart = (old - new).abs();
            let most = tolerance_us.max(1e-4 * tolerance_us * old.abs()).max(1e-9 * old.abs());
            assert!(apart <= most, "{what}, process {index}, {key}: {old} became {new}");
        }
    }
}

/// A span of a rank: kind, launch, gap to its start, length, stream.
type Any = (usize, i64, i64, i64, i64);

fn any_rank() -> impl Strategy<Value = (Vec<Any>, usize)> {
    let one = (0..7_usize, 0..900_i64, 0..40_i64, 1..60_i64, 7..10_i64);
    (proptest::collection::vec(one, 1..20), 0..3_usize)
}

fn fill(made: &mut Made<'_>, rank: u64, work: &[Any], steps: usize) {
    // Something of each rank is on the device.
    made.kernel(0, "volta_sgemm", (5, 9));
    for step in 0..steps as u64 {
        let (number, from) = (step + rank, 400 * step as i64);
        made.step(number, (from, from + 400));
        // Some recorders list them among frames.
        if rank != 1 {
            let name = format!("ProfilerStep#{number}");
            made.frame(FrameKind::Annotation, &name, (from, from + 400));
        }
    }
    for &(kind, at, gap, length, stream) in work {
        let extent = (at + gap, at + gap + length);
        match kind {
            0 => made.kernel_of(
                1,
                at,
                "void at::native::vectorized_elementwise_kernel",
                stream,
                extent,
            ),
            1 => made.kernel_of(2, at, "ncclDevKernel_Generic", stream, extent),
            2 => made.device(None, (DeviceKind::Copy, "Memcpy HtoD"), stream, extent, None),
            3 => made.device(None, (DeviceKind::Fill, "Memset (Device)"), stream, extent, None),
            4 => drop(made.call(1, "cudaStreamSynchronize", extent)),
            5 => drop(made.call(1, "cudaMalloc", extent)),
            _ => made.frame(FrameKind::Operator, "enumerate(DataLoader)#next", extent),
        }
    }
}

proptest! {
    #[test]
    fn several_ranks_come_back_each_with_its_own_work_and_steps(
        ranks in proptest::collection::vec(any_rank(), 1..4),
    ) {
        let count = ranks.len() as u64;
        let made = (0..).zip(&ranks).map(|(rank, (work, steps))| {
            made_rank(rank, count, |made| fill(made, rank, work, *steps))
        });
        let timeline = join(made.collect()).unwrap().recording.timeline;
        assert_same(&timeline, &read_back(&timeline).timeline, 1e-6, "made");
    }
}

#[test]
fn steps_that_no_frame_says_come_back_on_their_rank() {
    let mut timeline = made_rank(3, 8, |made| fill(made, 3, &[(0, 410, 5, 20, 7)], 2)).timeline;
    timeline.frames.clear();
    let back = read_back(&timeline).timeline;
    assert_eq!(back.steps.len(), 2);
    assert_same(&timeline, &back, 1e-6, "made");
}

/// The folder of traces; tells loudly where it is absent.
fn folder() -> Option<PathBuf> {
    let around = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).take(2);
    let found = around.map(|folder| folder.join("shared/traces")).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared/traces is absent, so no real trace is written and read back");
    }
    found
}

fn read(path: &Path) -> Option<Recording> {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: true, shapes: false };
    let name = path.to_string_lossy();
    open(&name, File::open(path).ok()?).ok()?.read(None, &options).ok()
}

#[test]
fn real_traces_come_back_with_the_same_breakdown() {
    let Some(folder) = folder() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if !path.to_string_lossy().ends_with(".json.gz") {
            continue;
        }
        let Some(recording) = read(&path) else { continue };
        if !recording.timeline.spans.iter().any(|span| !span.lane.is_host()) {
            continue;
        }
        let timeline = &recording.timeline;
        assert_same(timeline, &read_back(timeline).timeline, 1e-3, &path.to_string_lossy());
        count += 1;
    }
    assert!(count > 15, "{count}");
}

#[test]
fn a_real_job_of_eight_ranks_comes_back_recorded_and_replayed() {
    let Some(folder) = folder() else { return };
    let file = |rank| folder.join(format!("param_dlrm8_v100/kineto_rank{rank}.json.gz"));
    let recordings = (0..8).map(|rank| read(&file(rank)).expect("a trace")).collect();
    let joined = join(recordings).unwrap().recording;
    assert_same(&joined.timeline, &read_back(&joined.timeline).timeline, 1e-3, "recorded");
    let replayed = run(&prepare(&joined)).expect("it runs").timeline;
    assert_eq!(replayed.steps.len(), joined.timeline.steps.len());
    assert_same(&replayed, &read_back(&replayed).timeline, ROUNDING_US, "replayed");
}
