//! Reports of a step made by hand, and the commands that print them.

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use stepcast::analysis::{Candidate, Summary, compare, summarize};
use stepcast::report::{self, Style, Subject, comparison};
use tempfile::TempDir;

mod by_hand;

fn summary() -> Summary {
    summarize(&by_hand::timeline(), &by_hand::facts())
}

fn written(name: &str, style: Style) -> String {
    let (scenario, summary, timeline) = (by_hand::scenario(), summary(), by_hand::timeline());
    let subject = Subject { scenario: &scenario, summary: &summary, timeline: &timeline };
    let mut out = Vec::new();
    report::report(name).unwrap().write(&subject, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_text_report_says_all_on_a_screen() {
    insta::assert_snapshot!(written("text", Style::default()), @r#"
    by hand
      Test model on 64 x Test GPU (Test cluster), Test stack
      tp 2, pp 4 (1f1b), dp 8
      bf16, 16 micro-batches of 1 x 8,192 tokens on each replica

      step time             304.0 ms (80 %: 276.4 ms to 334.3 ms)
      tokens/s/GPU          20,211
      model FLOP/s per GPU  328.9 TFLOP/s
      MFU / HFU             32.9 % / 37.0 % of 1000 TFLOP/s
      (MFU counts the matrix products of forward and backward, the output projection and all attention
      scores included (Korthikanti et al. 2022), over the dense peak of the linear layers' format; HFU
      adds what is computed again)
      DOES NOT FIT: the fullest stage needs 82.00 GiB of 80.00 GiB a GPU
      try: plan.sequence_parallel = true; plan.recompute = "full"; a larger plan.cp; a larger plan.tp
      (up to 8 in a node); a larger plan.pp; plan.zero = 1; GPUs with more memory

    Where the time goes, on the critical stage (0)
      gemm             180.0 ms   59.2 %  ██████████████████████████████
      optimizer        5.000 ms    1.6 %  ▉
      exposed pp       5.000 ms    1.6 %  ▉
      bubble           97.00 ms   31.9 %  ████████████████▏
      host-bound       17.00 ms    5.6 %  ██▉

    Communication of one of its ranks
             total   exposed  hidden      bytes
      pp  12.00 ms  5.000 ms    58 %  732.4 MiB

    Memory by stage in GiB, of 80.00 GiB
      stage  reserved   peak  weights  grads  optim.  activ.  buffers  overhead
      0         82.00  80.00     8.00  16.00   12.00   40.00     2.50      1.50  does not fit
      1         72.00  70.00     8.00  16.00   12.00   30.00     2.50      1.50
      2-3       52.00  50.00     8.00  16.00   12.00   10.00     2.50      1.50

    The step on each stage
      stage 0 0001112222333....................AAAAAAA444BBBBBB555-CCCCCC....DDDDDD....EEEEEE...FFFFFF**
      stage 1 ....000111222..............AAAAAA333BBBBBB-444CCCCCC5555DDDDDD....EEEEEE....FFFFFF......**
      stage 2 .......000111-......AAAAAA2222BBBBBB3333CCCCCC4444DDDDDD555-EEEEEE...FFFFFF.............**
      stage 3 ..........0000AAAAAA111BBBBBB-222CCCCCC-333DDDDDD-444EEEEEE555FFFFFFF...................**
              0                                                                                 287.5 ms
      0-9 forward, A-J backward, by last digit of the micro-batch; * optimizer, + other compute, -
      communication alone, . idle

    Rests on: measurements 0.0 %, fits to measurements 25.0 %, rooflines and closed forms 75.0 %

    warning: made by hand
    "#);
}

#[test]
fn colours_change_nothing_but_colour() {
    let colored = written("text", Style { color: true, width: 100 });
    assert!(colored.contains('\u{1b}'));
    let stripped = anstream::adapter::strip_str(&colored).to_string();
    assert_eq!(stripped, written("text", Style::default()));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [70, 100, 160] {
        let text = written("text", Style { color: false, width });
        let chart = text.split("The step on each stage").nth(1).unwrap();
        for line in chart.lines().take_while(|line| !line.is_empty()) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn the_json_has_the_keys_of_the_contract() {
    let document: Value = serde_json::from_str(&written("json", Style::default())).unwrap();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let has = |value: &Value, names: &str| {
        let keys = keys(value);
        for name in names.split(' ') {
            assert!(keys.contains(name), "no `{name}` in {keys:?}");
        }
    };
    has(
        &document,
        "schema_version scenario step_time_s step_time_interval_s tokens_per_s_per_gpu model_tflops_per_gpu mfu hfu \
         time communication memory evidence warnings",
    );
    let time = "compute_s exposed_communication_s bubble_s host_bound_s optimizer_s other_s";
    has(&document["time"], time);
    assert_eq!(keys(&document["time"]).len(), time.split(' ').count(), "these sum to the step");
    assert_eq!(
        keys(&document["communication"]),
        ["tp", "dp", "pp", "cp", "ep"].map(str::to_owned).into()
    );
    for axis in ["tp", "dp", "pp", "cp", "ep"] {
        has(&document["communication"][axis], "total_s exposed_s bytes");
    }
    has(&document["memory"], "capacity_bytes peak_bytes peak_reserved_bytes fits stages");
    for stage in document["memory"]["stages"].as_array().unwrap() {
        has(
            stage,
            "stage peak_bytes weights_bytes gradients_bytes optimizer_bytes activations_bytes \
             buffers_bytes overhead_bytes",
        );
    }
    has(
        &document["evidence"],
        "measured_fraction fitted_fraction scaled_fraction roofline_fraction",
    );
    has(&document["scenario"], "model cluster stack plan training");
}

#[test]
fn the_parts_of_time_sum_to_the_step() {
    let document: Value = serde_json::from_str(&written("json", Style::default())).unwrap();
    let times = document["time"].as_object().unwrap().values();
    let sum: f64 = times.map(|time| time.as_f64().unwrap()).sum();
    let step = document["step_time_s"].as_f64().unwrap();
    assert!((sum - step).abs() < 1e-12 * step, "{sum} {step}");
    let kinds = document["compute_by_kind"].as_object().unwrap().values();
    let compute: f64 = kinds.map(|time| time.as_f64().unwrap()).sum();
    assert!((compute - document["time"]["compute_s"].as_f64().unwrap()).abs() < 1e-12);
}

#[test]
fn the_json_of_the_numbers_does_not_change() {
    let (scenario, summary) = (by_hand::scenario(), summary());
    let mut document = report::json::document(&scenario, &summary).unwrap();
    // What was asked is pinned by the tests of scenarios.
    document.as_object_mut().unwrap().remove("scenario");
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
    {
      "communication": {
        "cp": {
          "bytes": 0.0,
          "exposed_s": 0.0,
          "total_s": 0.0
        },
        "dp": {
          "bytes": 0.0,
          "exposed_s": 0.0,
          "total_s": 0.0
        },
        "ep": {
          "bytes": 0.0,
          "exposed_s": 0.0,
          "total_s": 0.0
        },
        "pp": {
          "bytes": 768000000.0,
          "exposed_s": 0.005,
          "total_s": 0.012000000000000004
        },
        "tp": {
          "bytes": 0.0,
          "exposed_s": 0.0,
          "total_s": 0.0
        }
      },
      "compute_by_kind": {
        "attention": 0.0,
        "cast": 0.0,
        "elementwise": 0.0,
        "embedding": 0.0,
        "gemm": 0.18,
        "loss": 0.0,
        "norm": 0.0
      },
      "convention": "MFU counts the matrix products of forward and backward, the output projection and all attention scores included (Korthikanti et al. 2022), over the dense peak of the linear layers' format; HFU adds what is computed again",
      "critical_stage": 0,
      "evidence": {
        "fitted_fraction": 0.25,
        "measured_fraction": 0.0,
        "roofline_fraction": 0.75,
        "scaled_fraction": 0.0
      },
      "hfu": 0.3700657894736843,
      "memory": {
        "capacity_bytes": 85899345920,
        "fits": false,
        "peak_allocated_bytes": 84288733184,
        "peak_bytes": 85899345920,
        "peak_cached_bytes": 86436216832,
        "peak_reserved_bytes": 88046829568,
        "stages": [
          {
            "activations_bytes": 42949672960,
            "buffers_bytes": 2684354560,
            "gradients_bytes": 17179869184,
            "optimizer_bytes": 12884901888,
            "overhead_bytes": 1610612736,
            "peak_allocated_bytes": 84288733184,
            "peak_bytes": 85899345920,
            "peak_cached_bytes": 86436216832,
            "peak_reserved_bytes": 88046829568,
            "stage": 0,
            "weights_bytes": 8589934592
          },
          {
            "activations_bytes": 32212254720,
            "buffers_bytes": 2684354560,
            "gradients_bytes": 17179869184,
            "optimizer_bytes": 12884901888,
            "overhead_bytes": 1610612736,
            "peak_allocated_bytes": 73551314944,
            "peak_bytes": 75161927680,
            "peak_cached_bytes": 75698798592,
            "peak_reserved_bytes": 77309411328,
            "stage": 1,
            "weights_bytes": 8589934592
          },
          {
            "activations_bytes": 10737418240,
            "buffers_bytes": 2684354560,
            "gradients_bytes": 17179869184,
            "optimizer_bytes": 12884901888,
            "overhead_bytes": 1610612736,
            "peak_allocated_bytes": 52076478464,
            "peak_bytes": 53687091200,
            "peak_cached_bytes": 54223962112,
            "peak_reserved_bytes": 55834574848,
            "stage": 2,
            "weights_bytes": 8589934592
          },
          {
            "activations_bytes": 10737418240,
            "buffers_bytes": 2684354560,
            "gradients_bytes": 17179869184,
            "optimizer_bytes": 12884901888,
            "overhead_bytes": 1610612736,
            "peak_allocated_bytes": 52076478464,
            "peak_bytes": 53687091200,
            "peak_cached_bytes": 54223962112,
            "peak_reserved_bytes": 55834574848,
            "stage": 3,
            "weights_bytes": 8589934592
          }
        ]
      },
      "mfu": 0.3289473684210526,
      "model_tflops_per_gpu": 328.9473684210526,
      "peak_tflops_per_gpu": 1000.0,
      "schema_version": 1,
      "step_time_interval_s": [
        0.2764101629488879,
        0.3343437123080348
      ],
      "step_time_s": 0.304,
      "time": {
        "bubble_s": 0.097,
        "compute_s": 0.18,
        "exposed_communication_s": 0.005,
        "host_bound_s": 0.017,
        "optimizer_s": 0.005,
        "other_s": 0.0
      },
      "tokens_per_s_per_gpu": 20210.526315789473,
      "warnings": [
        "made by hand"
      ]
    }
    "#);
}

#[test]
fn the_csv_is_a_header_and_a_row_of_the_same_length() {
    let text = written("csv", Style::default());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let cell = |name: &str| &rows[0][header.iter().position(|it| it == name).unwrap()];
    assert_eq!(cell("step_time_s").parse::<f64>().unwrap(), summary().step_time_s);
    assert_eq!((cell("pp"), cell("fits")), ("4", "false"));
}

fn candidate(name: &str, more_bubble_s: f64, fits: bool) -> Candidate {
    let mut summary = summary();
    let tokens = summary.tokens_per_s_per_gpu * summary.step_time_s;
    summary.time.bubble_s += more_bubble_s;
    summary.step_time_s += more_bubble_s;
    summary.tokens_per_s_per_gpu = tokens / summary.step_time_s;
    summary.memory.fits = fits;
    if fits {
        summary.memory.peak_reserved_bytes = summary.memory.capacity_bytes;
    }
    Candidate { name: name.to_owned(), outcome: Ok(summary) }
}

#[test]
fn a_comparison_is_best_first_with_reasons_and_drops_nothing() {
    let wrong = Candidate { name: "wrong".to_owned(), outcome: Err("tp must divide".to_owned()) };
    let comparison = compare(vec![
        wrong,
        candidate("large", -0.05, false),
        candidate("slow", 0.25, true),
        candidate("best", 0.0, true),
    ]);
    let mut out = Vec::new();
    comparison::write_text(&comparison, Style::default(), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
           step time  tokens/s/GPU     MFU  memory a GPU  fits   largest loss
    best    304.0 ms        20,211  32.9 %     80.00 GiB   yes  bubble 31.9 %
    slow    554.0 ms        11,090  32.9 %     80.00 GiB   yes  bubble 62.6 %
    large   254.0 ms        24,189  32.9 %     82.00 GiB    no  bubble 18.5 %

    Against best, for as many tokens
      slow: +250.0 ms: bubble +250.0 ms
      large: -50.00 ms: bubble -50.00 ms

    Cannot run
      large: does not fit: stage 0 needs 82.00 GiB of 80.00 GiB a GPU
      wrong: tp must divide
    "#);
    let mut json = Vec::new();
    comparison::write_json(&comparison, &mut json).unwrap();
    let document: Value = serde_json::from_slice(&json).unwrap();
    let outcomes: Vec<_> =
        document["rows"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["fits", "fits", "does_not_fit", "invalid"]);
    assert_eq!(document["rows"][3]["reason"], "tp must divide");
    let mut csv = Vec::new();
    comparison::write_csv(&comparison, &mut csv).unwrap();
    assert_eq!(csv::Reader::from_reader(&csv[..]).records().map(Result::unwrap).count(), 4);
}

fn stepcast(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("stepcast").unwrap().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn simulate_says_so_and_fails_when_the_plan_does_not_fit() {
    let (code, out, err) = stepcast(&["simulate", "llama3-70b-8xh100-does-not-fit"]);
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("DOES NOT FIT"), "{out}");
    let (code, out, err) = stepcast(&["simulate", "llama3-8b-8xh100-fsdp", "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["memory"]["fits"], true);
}

#[test]
fn a_compressed_trace_holds_what_the_plain_one_holds() {
    let folder = TempDir::new().unwrap();
    let [plain, small] = ["t.json", "t.json.gz"].map(|name| folder.path().join(name));
    for path in [&plain, &small] {
        let path = path.to_str().unwrap();
        let (code, _, err) = stepcast(&["simulate", "llama3-8b-8xh100-fsdp", "--trace", path]);
        assert_eq!(code, 0, "{err}");
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&small).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    assert!(text == std::fs::read_to_string(&plain).unwrap(), "the traces differ");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(document["traceEvents"].as_array().unwrap().len() > 1000);
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error_and_no_report() {
    let (code, out, err) =
        stepcast(&["simulate", "llama3-8b-8xh100-fsdp", "--trace", "/no/such/folder/t.json"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("cannot write /no/such/folder/t.json"), "{err}");
}

#[test]
fn compare_tells_why_a_variation_cannot_run() {
    let (code, out, err) =
        stepcast(&["compare", "llama3-70b-64xh100", "--vary", "plan.tp=3,4", "--quiet"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("plan.tp=4 "), "{out}");
    assert!(out.contains("plan.tp=3: plan.tp = 3: must divide"), "{out}");
    let (code, _, err) = stepcast(&["compare", "llama3-70b-64xh100", "--vary", "plan.tp=3,5"]);
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = stepcast(&["compare", "llama3-70b-64xh100", "--vary", "plan.tp"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--vary plan.tp=1,2,4,8"), "{err}");
}

#[test]
fn compare_fails_when_nothing_fits() {
    let (code, out, _) = stepcast(&["compare", "llama3-70b-8xh100-does-not-fit"]);
    assert_eq!(code, 1);
    assert!(out.contains("does not fit: stage 0 needs"), "{out}");
}
