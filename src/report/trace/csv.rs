//! The summary of traces as CSV: a row a rank, then a row each of its steps.

use std::io::{self, Write};

use super::Measured;
use crate::analysis::Occupancy;

const COLUMNS: [&str; 15] = [
    "file",
    "rank",
    "device",
    "step",
    "host_us",
    "window_us",
    "idle_us",
    "busy_us",
    "compute_us",
    "communication_us",
    "memory_us",
    "overlap_us",
    "exposed_communication_us",
    "exposed_beyond_memory_us",
    "gpu_events",
];

/// Writes a row a rank, `step` blank, and a row each of its steps. Times are microseconds.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(measured: &[Measured<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    let number = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    for (source, profile) in measured.iter().flat_map(Measured::ranks) {
        let identity = [source.file.clone(), number(source.rank), number(source.device)];
        let whole = [String::new(), String::new()];
        let rest = figures(&profile.occupancy, profile.gpu_events);
        writer.write_record(identity.iter().chain(&whole).chain(&rest))?;
        for step in &profile.steps {
            let which = [step.step.to_string(), step.host.us().to_string()];
            let rest = figures(&step.occupancy, step.gpu_events);
            writer.write_record(identity.iter().chain(&which).chain(&rest))?;
        }
    }
    writer.flush()
}

fn figures(occupancy: &Occupancy, gpu_events: u64) -> Vec<String> {
    let times = [
        occupancy.window,
        occupancy.idle,
        occupancy.busy,
        occupancy.compute,
        occupancy.communication,
        occupancy.memory,
        occupancy.overlap,
        occupancy.exposed_communication,
        occupancy.exposed_beyond_memory,
    ];
    let times = times.iter().map(|time| time.us().to_string());
    times.chain([gpu_events.to_string()]).collect()
}
