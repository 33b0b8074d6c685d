//! The summary of traces as JSON. Keys are a contract: more may come, none goes or changes its
//! meaning. The page `docs/trace-json.md` says what each is.

use serde::Serialize;
use std::io::{self, Write};

use super::Measured;
use crate::analysis::{CollectiveProfile, RankProfile};

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    files: Vec<Entry<'a>>,
    collectives: Vec<&'a CollectiveProfile>,
    job: Job,
}

/// All files together.
#[derive(Serialize)]
struct Job {
    /// Processes that were read.
    rank_count: usize,
    /// Ranks of the job, where a file says it.
    world_size: Option<u64>,
    /// Collectives whose members were read.
    collective_count: usize,
    /// Whether an answer is partial.
    is_partial: bool,
}

/// A process of a file.
#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    rank: Option<u64>,
    world_size: Option<u64>,
    device: Option<u64>,
    device_name: Option<&'a str>,
    #[serde(flatten)]
    profile: &'a RankProfile,
    gpu_events_without_launch: u64,
    partial: &'a [String],
}

fn entries<'a>(measured: &'a [Measured<'a>]) -> Vec<Entry<'a>> {
    let entry = |one: &'a Measured<'a>| {
        one.ranks().map(|(source, profile)| Entry {
            file: &source.file,
            rank: source.rank,
            world_size: source.world_size,
            device: source.device,
            device_name: source.device_name.as_deref(),
            profile,
            gpu_events_without_launch: source.events_without_launch,
            partial: &one.recording.partial,
        })
    };
    measured.iter().flat_map(entry).collect()
}

/// Writes one object: `schema_version`, `files` (one entry a file and device), `collectives` (whose
/// members were read) and `job`. Times are microseconds.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(measured: &[Measured<'_>], out: &mut dyn Write) -> io::Result<()> {
    let files = entries(measured);
    let collectives: Vec<&CollectiveProfile> =
        measured.iter().flat_map(|one| &one.profile.collectives).collect();
    let job = Job {
        rank_count: files.len(),
        world_size: files.iter().filter_map(|entry| entry.world_size).max(),
        collective_count: collectives.len(),
        is_partial: files.iter().any(|entry| !entry.partial.is_empty()),
    };
    let document = Document { schema_version: 1, files, collectives, job };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
