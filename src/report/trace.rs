//! What recorded traces say, as tables, JSON and CSV.

use serde::Serialize;
use std::io::{self, Write};

use super::Style;
use super::table::{percent, table};
use crate::analysis::{Profile, RankProfile};
use crate::trace::{Recording, Source};

/// A recording and where its time went.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// Its profile.
    pub profile: Profile,
}

impl Measured<'_> {
    /// Each process with its source.
    fn ranks(&self) -> impl Iterator<Item = (&Source, &RankProfile)> {
        self.recording.sources.iter().zip(&self.profile.ranks)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    files: Vec<Entry<'a>>,
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

/// Writes the document as JSON.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(measured: &[Measured<'_>], out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Document { files: entries(measured) })?;
    writeln!(out)
}

/// Writes a table of ranks.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(
    measured: &[Measured<'_>],
    _top: usize,
    _style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let header = ["file", "window", "idle", "compute", "communication", "memory", "exposed"];
    let rows: Vec<Vec<String>> = entries(measured)
        .iter()
        .map(|entry| {
            let occupancy = &entry.profile.occupancy;
            let share = |part: crate::units::Picoseconds| percent(part.share_of(occupancy.window));
            vec![
                entry.file.to_owned(),
                occupancy.window.seconds().to_string(),
                share(occupancy.idle),
                share(occupancy.compute),
                share(occupancy.communication),
                share(occupancy.memory),
                share(occupancy.exposed_communication),
            ]
        })
        .collect();
    out.write_all(table(&header, &rows, 0).as_bytes())
}

/// Writes a row a rank.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(measured: &[Measured<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["file", "rank", "window_us"])?;
    for entry in entries(measured) {
        let rank = entry.rank.map_or(String::new(), |rank| rank.to_string());
        let window = entry.profile.occupancy.window.us().to_string();
        writer.write_record([entry.file, &rank, &window])?;
    }
    writer.flush()
}
