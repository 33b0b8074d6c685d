//! Summaries of recorded traces against breakdowns that were computed independently.
//!
//! The traces are no part of the project: where `../shared/traces` is not beside the checkout, the
//! test says so and checks nothing.

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn traces() -> Option<PathBuf> {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    // Worktrees lie one folder deeper.
    let deeper = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    let found = [traces, deeper].into_iter().find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared/traces is not there, no trace is compared");
    }
    found
}

fn summary(file: &Path) -> Value {
    let mut command = Command::cargo_bin("stepcast").unwrap();
    let output =
        command.args(["trace", "summarize", "--format", "json"]).arg(file).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", file.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Columns of the reference, and keys of the summary.
const QUANTITIES: [(&str, &str); 12] = [
    ("window_us", "window_us"),
    ("busy_us", "busy_us"),
    ("idle_us", "idle_us"),
    ("compute_us", "compute_us"),
    ("comm_us", "communication_us"),
    ("mem_us", "memory_us"),
    ("comm_comp_overlap_us", "overlap_us"),
    ("exposed_comm_us", "exposed_communication_us"),
    ("exposed_comm_vs_comp_or_mem_us", "exposed_beyond_memory_us"),
    ("host_sync_call_us", "host_sync_call_us"),
    ("gpu_events", "gpu_events"),
    ("gpu_events_without_launch", "gpu_events_without_launch"),
];

#[test]
fn breakdowns_equal_the_reference_on_every_readable_trace() {
    let Some(traces) = traces() else { return };
    let mut reader = csv::Reader::from_path(traces.join("reference/breakdown.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let mut faults = Vec::new();
    for row in reader.records().map(Result::unwrap) {
        let file = &row[column("file")];
        let summary = summary(&traces.join(file));
        let entry = &summary["files"][0];
        for (wanted, key) in QUANTITIES {
            let expected: f64 = row[column(wanted)].parse().unwrap();
            let found = entry[key].as_f64().unwrap();
            let allowed = if key.ends_with("_us") { (1e-4 * expected).max(2.0) } else { 0.0 };
            if (found - expected).abs() > allowed {
                faults.push(format!("{file}: {key} is {found}, expected {expected}"));
            }
        }
        let causes = entry["idle_causes"].as_object().unwrap();
        let sum: f64 = causes.values().map(|cause| cause.as_f64().unwrap()).sum();
        if (sum - entry["idle_us"].as_f64().unwrap()).abs() > 0.01 {
            faults.push(format!("{file}: causes of idle time sum to {sum}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
