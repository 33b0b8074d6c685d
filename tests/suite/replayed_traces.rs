//! Replays, edits and diagnoses of real traces beside the checkout.

use std::fs::File;
use std::path::{Path, PathBuf};

use stepcast::analysis::{RankReplay, SlowdownCause};
use stepcast::explore::diagnose::diagnose;
use stepcast::explore::what_if::{Change, what_if};
use stepcast::replay::{judge, prepare, run};
use stepcast::spec::DataSources;
use stepcast::trace::{Classes, Options, Recording, TraceError, join, open};

/// The folder of traces; tells loudly where it is absent.
fn folder() -> Option<PathBuf> {
    let around = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).take(2);
    let found = around.map(|folder| folder.join("shared/traces")).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared/traces is absent, so no real trace is replayed");
    }
    found
}

fn read(path: &Path, frames: bool) -> Recording {
    tried(path, frames).unwrap_or_else(|error| panic!("{error}"))
}

fn tried(path: &Path, frames: bool) -> Result<Recording, TraceError> {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames, shapes: false };
    let file = File::open(path).expect("a file of the folder");
    let name = path.to_string_lossy();
    open(&name, file)?.read(None, &options)
}

fn job_of_eight(folder: &Path) -> Recording {
    let file = |rank: u32| folder.join(format!("param_dlrm8_v100/kineto_rank{rank}.json.gz"));
    join((0..8).map(|rank| read(&file(rank), false)).collect()).expect("a job").recording
}

#[test]
fn eight_ranks_replay_together_within_a_percent_a_rank_and_step() {
    let Some(folder) = folder() else { return };
    let recording = job_of_eight(&folder);
    let spans = &recording.timeline.spans;
    assert!(!recording.timeline.meetings.is_empty());
    for meeting in &recording.timeline.meetings {
        let ends = || meeting.members.iter().map(|member| spans[member.0 as usize].end.ps());
        let apart = ends().max().unwrap_or(0) - ends().min().unwrap_or(0);
        assert!(apart <= 7_000_000, "members of {meeting:?} end {apart} ps apart");
    }
    let replay = run(&prepare(&recording)).expect("it ends");
    assert_eq!(replay.ranks.len(), 8);
    for rank in &replay.ranks {
        for step in std::iter::once(&rank.window).chain(&rank.steps) {
            assert!(step.error.abs() < 0.01, "rank {}: {step:?}", rank.rank);
            assert!(step.unexplained_fraction < 0.01, "rank {}: {step:?}", rank.rank);
        }
    }
    // One in eighteen has no launch in these files, which is all there is to say.
    let others = replay.warnings.iter().filter(|warning| !warning.contains("have no launch"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Whether starts of a rank are explained, and its replay close; a message where it is not.
fn judged(file: &str, rank: &RankReplay, warnings: &[String]) -> Option<String> {
    let window = &rank.window;
    // Late starts stay late, so that this holds for all; the better a replay is understood the
    // less it owes to that.
    if window.error.abs() > 0.03 {
        return Some(format!("{file}: {window:?}, {warnings:?}"));
    }
    if window.unexplained_fraction > 0.05 {
        let start = format!("rank {}: ", rank.rank);
        let is_told = warnings.iter().any(|warning| {
            warning.starts_with(&start) && warning.contains("nothing in the recording explains")
        });
        return (!is_told).then(|| format!("{file}: no warning for {window:?}"));
    }
    let punctual_us = window.punctual_us.expect("asked for");
    let is_close = (punctual_us / window.measured_us - 1.0).abs() <= 0.03;
    (!is_close).then(|| format!("{file}: {window:?}, {warnings:?}"))
}

#[test]
fn traces_whose_starts_are_explained_replay_within_three_percent_and_others_warn() {
    let Some(folder) = folder() else { return };
    let entries = std::fs::read_dir(&folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".json.gz"));
    files.sort();
    let mut wrong = Vec::new();
    let mut replayed = 0;
    for path in files {
        let recording = match tried(&path, false) {
            Ok(recording) => recording,
            // What PyTorch calls an execution trace has no times.
            Err(error) if error.to_string().contains("execution trace") => continue,
            Err(error) => panic!("{error}"),
        };
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let replay = judge(&prepare(&recording)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for rank in &replay.ranks {
            let window = &rank.window;
            eprintln!(
                "{file} rank {}: error {:+.2} %, {:+.2} % without late starts, unexplained {:.2} %",
                rank.rank,
                100.0 * window.error,
                100.0 * (window.punctual_us.expect("asked for") / window.measured_us - 1.0),
                100.0 * window.unexplained_fraction
            );
            wrong.extend(judged(&file, rank, &replay.warnings));
        }
        replayed += 1;
    }
    assert!(replayed > 12, "{replayed}");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_loader_without_workers_is_named_and_its_removal_gives_the_step_with_workers() {
    let Some(folder) = folder() else { return };
    let slow = read(&folder.join("kineto_resnet50_v100_workers0.json.gz"), true);
    let fast = read(&folder.join("kineto_resnet50_v100_workers4.json.gz"), true);
    let sources = DataSources::default();
    let diagnosis = diagnose(&slow, &sources).expect("a diagnosis");
    let causes: Vec<SlowdownCause> = diagnosis.hypotheses.iter().map(|it| it.cause).collect();
    assert!(causes.contains(&SlowdownCause::DataLoading), "{causes:?}");
    let text = "remove host within=DataLoader".to_owned();
    let change = Change::parse(&text).expect("a change");
    let (answer, _) = what_if(&slow, &[(text, change)], &sources).expect("an answer");
    let steps = fast.timeline.steps.iter().filter(|step| step.process == 0).count().max(1);
    let replay = run(&prepare(&fast)).expect("it ends");
    let measured = replay.ranks[0].window.measured_us / steps as f64;
    let error = answer.after_us / measured - 1.0;
    eprintln!("{:.0} us by what-if, {measured:.0} us with workers", answer.after_us);
    assert!(error.abs() < 0.1, "{:.0} us, {measured:.0} us with workers", answer.after_us);
}
