//! The summary of traces as CSV: a row a rank, then a row each of its steps, then one each of its
//! operations of communication.

use std::io::{self, Write};

use super::Measured;
use crate::analysis::{Occupancy, OperationTime};

const COLUMNS: [&str; 17] = [
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
    "operation",
    "bytes",
];

/// Writes a row a rank, `step` blank, a row each of its steps, and one each of its operations of
/// communication, which has its kernels, their time, and their bytes unless some do not say them.
/// Times are microseconds.
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
        for operation in &profile.operations {
            writer.write_record(identity.iter().chain(&communication(operation)))?;
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
    times.chain([gpu_events.to_string(), String::new(), String::new()]).collect()
}

/// Columns behind those that say which rank it is.
fn communication(operation: &OperationTime) -> Vec<String> {
    let is_sized = operation.sized_count == operation.count;
    let bytes = is_sized.then(|| operation.bytes.to_string());
    let mut row = vec![String::new(); COLUMNS.len() - 3];
    let mut write = |column: &str, value: String| {
        if let Some(place) = COLUMNS.iter().position(|name| *name == column) {
            row[place - 3] = value;
        }
    };
    write("communication_us", operation.total.us().to_string());
    write("gpu_events", operation.count.to_string());
    write("operation", operation.operation.to_owned());
    write("bytes", bytes.unwrap_or_default());
    row
}
