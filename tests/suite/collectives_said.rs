//! What recorded collectives say of themselves, on traces beside the checkout; those that cannot be
//! found are told and left.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use stepcast::calibrate::{ExtractOptions, extract};
use stepcast::trace::{Classes, Communication, Options, Recording, join, open};
use stepcast::work::CollectiveKind;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no traces in {}", folder.display());
    None
}

fn read(path: &Path) -> Recording {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: false, shapes: false };
    let file = File::open(path).unwrap();
    open(&path.display().to_string(), file).unwrap().read(None, &options).unwrap()
}

/// Collectives that an execution trace holds: how PyTorch calls them, and the bytes that go in. Its
/// tensors are `[…, …, …, elements, bytes of one, device]`.
fn executed(path: &Path) -> Vec<(String, u64)> {
    let document: Value =
        serde_json::from_reader(GzDecoder::new(File::open(path).unwrap())).unwrap();
    let nodes = document["nodes"].as_array().unwrap();
    let sent = nodes.iter().filter_map(|node| {
        let name = node["name"].as_str()?.strip_prefix("nccl:")?;
        let tensors = node["inputs"].as_array()?;
        let bytes = tensors.iter().map(|it| it[3].as_u64().unwrap() * it[4].as_u64().unwrap());
        Some((name.to_owned(), bytes.sum()))
    });
    sent.collect()
}

#[test]
fn collectives_of_an_old_trace_are_those_of_its_execution_trace() {
    let Some(folder) = folder() else { return };
    let folder = folder.join("param_dlrm8_v100");
    let mut recordings = Vec::new();
    for rank in 0..8 {
        let recording = read(&folder.join(format!("kineto_rank{rank}.json.gz")));
        let name = |said: &Communication| said.kind.map_or("", CollectiveKind::name).to_owned();
        let bytes = |said: &Communication| said.bytes.map_or(0, |bytes| bytes.value() as u64);
        let mut found: Vec<(String, u64)> =
            recording.communications.iter().map(|said| (name(said), bytes(said))).collect();
        let mut expected = executed(&folder.join(format!("et_rank{rank}.json.gz")));
        assert!(!expected.is_empty());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "rank {rank}");
        recordings.push(recording);
    }
    let joined = join(recordings).unwrap().recording;
    let of = |span| joined.communications.iter().find(|said| said.span == span).unwrap();
    for meeting in &joined.timeline.meetings {
        let first = of(meeting.members[0]);
        assert_eq!(meeting.members.len(), 8);
        for said in meeting.members.iter().map(|&span| of(span)) {
            assert_eq!((said.kind, said.dtype), (first.kind, first.dtype));
            if said.kind == Some(CollectiveKind::AllReduce) {
                assert_eq!(said.bytes, first.bytes);
            }
        }
    }
    let extract = extract(&joined, &ExtractOptions::default());
    let sheet = extract.sheets.iter().find(|sheet| sheet.file == "collective.csv").unwrap();
    let operation = sheet.columns.iter().position(|column| *column == "op").unwrap();
    let reduces = sheet.rows.iter().filter(|row| row[operation] == "all_reduce").count();
    assert_eq!(reduces, 3, "{:?}", sheet.rows);
}

/// Kernels that communicate, those with an operation and those with a size.
fn counts(recording: &Recording) -> (usize, usize, usize) {
    let said = &recording.communications;
    let kinds = said.iter().filter(|said| said.kind.is_some()).count();
    let sizes = said.iter().filter(|said| said.bytes.is_some()).count();
    (said.len(), kinds, sizes)
}

#[test]
fn kernels_whose_launch_was_recorded_have_an_operation_and_a_size() {
    let Some(folder) = folder() else { return };
    // By the file: kernels, and those of which the calls that launched them are in it.
    for (file, expected) in [
        ("tl_resnet_actckpt_mi300x_rank0.json.gz", (17, 12, 12)),
        ("hta_recsys_a100_16rank_rank0.json.gz", (80, 80, 75)),
        ("hta_nccl_a100_2rank_rank0.json.gz", (21, 21, 21)),
        ("hta_sampled128_rank0.json.gz", (10, 10, 10)),
        ("tl_vllm_b200_rank0.json.gz", (1, 1, 1)),
    ] {
        let recording = read(&folder.join(file));
        assert_eq!(counts(&recording), expected, "{file}");
        let told = recording.communications.iter().filter(|said| said.bytes.is_some());
        for said in told {
            let launch = recording.launched_by[said.span.0 as usize];
            assert!(launch.is_some(), "{file}: a size without a launch");
        }
    }
}
