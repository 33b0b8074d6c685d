//! Comparisons of hand-made summaries, as users read them.

use serde_json::Value;
use stepcast::analysis::{
    Candidate, CommunicationSummary, Comparison, Evidence, MemorySummary, StageMemory, Summary,
    TimeSummary, compare,
};
use stepcast::report::{Style, comparison};
use stepcast::units::Bytes;

const GIB: f64 = 1_073_741_824.0;

/// A step of 8,192 tokens a GPU, with what tells candidates apart.
fn summary(compute_s: f64, dp_s: f64, bubble_s: f64, reserved_gib: f64) -> Summary {
    let step_time_s = compute_s + dp_s + bubble_s;
    let exposed = CommunicationSummary { total_s: dp_s, exposed_s: dp_s, bytes: 1e9 };
    let stage = |stage, part| StageMemory {
        stage,
        peak_reserved: Bytes::new(reserved_gib * GIB * part),
        ..StageMemory::default()
    };
    Summary {
        step_time_s,
        step_time_interval_s: [0.9 * step_time_s, 1.1 * step_time_s],
        tokens_per_s_per_gpu: 8192.0 / step_time_s,
        model_tflops_per_gpu: 400.0 / step_time_s,
        peak_tflops_per_gpu: 1000.0,
        mfu: 0.4 / step_time_s,
        hfu: 0.4 / step_time_s,
        critical_stage: 0,
        time: TimeSummary {
            compute_s,
            exposed_communication_s: dp_s,
            bubble_s,
            ..TimeSummary::default()
        },
        compute: [("gemm", compute_s)].into(),
        communication: [("dp", exposed)].into(),
        memory: MemorySummary {
            capacity_bytes: (80.0 * GIB) as u64,
            peak_bytes: (reserved_gib * GIB) as u64,
            peak_reserved_bytes: (reserved_gib * GIB) as u64,
            peak_allocated_bytes: (reserved_gib * GIB) as u64,
            peak_cached_bytes: (reserved_gib * GIB) as u64,
            fits: reserved_gib <= 80.0,
            stages: vec![stage(0, 0.5), stage(1, 1.0)],
        },
        evidence: Evidence::default(),
        warnings: Vec::new(),
    }
}

/// In the order in which a user gave them: slow, too large, impossible, best.
fn four() -> Comparison {
    let candidate = |name: &str, outcome| Candidate { name: name.to_owned(), outcome };
    compare(vec![
        // 0.01 + 0.20 + 0.60 more than the best.
        candidate("plan.pp=8", Ok(summary(1.01, 0.25, 0.70, 40.0))),
        // Would be fastest, but 96 GiB do not fit into 80 GiB.
        candidate("plan.pp=1", Ok(summary(0.94, 0.00, 0.00, 96.0))),
        candidate("plan.pp=3", Err("plan.pp = 3: 80 layers do not divide".to_owned())),
        candidate("plan.pp=4", Ok(summary(1.00, 0.05, 0.10, 60.0))),
    ])
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_table_is_best_first_and_drops_no_candidate() {
    let text = text(|out| comparison::write_text(&four(), Style::default(), out));
    let expected = "
           step time  tokens/s/GPU     MFU  memory a GPU  fits   largest loss
plan.pp=4    1.150 s         7,123  34.8 %     60.00 GiB   yes   bubble 8.7 %
plan.pp=8    1.960 s         4,180  20.4 %     40.00 GiB   yes  bubble 35.7 %
plan.pp=1   940.0 ms         8,715  42.6 %     96.00 GiB    no              -

Against plan.pp=4, for as many tokens
  plan.pp=8: +810.0 ms: bubble +600.0 ms, dp communication +200.0 ms
  plan.pp=1: -210.0 ms: bubble -100.0 ms, compute -60.00 ms, dp communication -50.00 ms

Cannot run
  plan.pp=1: does not fit: stage 1 needs 96.00 GiB of 80.00 GiB a GPU
  plan.pp=3: plan.pp = 3: 80 layers do not divide
";
    assert_eq!(text, expected.trim_start_matches('\n'));
}

#[test]
fn the_json_keeps_every_difference_and_names_the_largest_loss() {
    let text = text(|out| comparison::write_json(&four(), out));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema_version"], 1);
    let rows = json["rows"].as_array().unwrap();
    let outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["fits", "fits", "does_not_fit", "invalid"]);
    assert_eq!(rows[0]["differences"], Value::Array(Vec::new()));
    assert_eq!(rows[1]["largest_loss"]["part"], "bubble");
    let close = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-12;
    assert!(close(&rows[1]["largest_loss"]["fraction"], 0.70 / 1.96));
    let expected = [("compute", 0.01), ("dp communication", 0.20), ("bubble", 0.60)];
    let differences = rows[1]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), expected.len());
    for (found, (part, time_s)) in differences.iter().zip(expected) {
        assert_eq!(found["part"], part);
        assert!(close(&found["time_s"], time_s), "{found}");
    }
    assert_eq!(rows[3]["reason"], "plan.pp = 3: 80 layers do not divide");
}

#[test]
fn the_csv_has_a_row_of_equal_width_for_each_candidate() {
    let text = text(|out| comparison::write_csv(&four(), out));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| -> Vec<&str> {
        let index = header.iter().position(|known| known == name).unwrap();
        rows.iter().map(|row| &row[index]).collect()
    };
    assert_eq!(column("name"), ["plan.pp=4", "plan.pp=8", "plan.pp=1", "plan.pp=3"]);
    assert_eq!(column("outcome"), ["fits", "fits", "does_not_fit", "invalid"]);
    assert_eq!(column("step_time_s")[1..], ["1.96", "0.94", ""]);
    assert_eq!(column("reason")[3], "plan.pp = 3: 80 layers do not divide");
}
