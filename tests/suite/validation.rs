//! `validate` and `calibrate runs` on tables made here.

use assert_cmd::Command;
use std::fs;
use std::path::PathBuf;
use stepcast::Detail;
use stepcast::calibrate::Table;
use stepcast::spec::{DataSources, load_text};
use stepcast::validate::{Assignment, Knob, fit_runs, read_runs};
use tempfile::TempDir;

const COLUMNS: &str = "id,family,stack,model,layers,hidden,ffn,mlp,heads,vocab,seq_len,gpu,gpus,\
                       gpus_per_node,cluster,tp,pp,dp,micro_batch,global_batch,precision,\
                       step_time_s,peak_mem_gib,mem_kind";

/// A row of an 8B-like run on one or more nodes of DGX H100.
fn row(id: &str, [tp, pp, dp, micro_batch]: [u64; 4], step_time_s: f64) -> String {
    let (gpus, batch) = (tp * pp * dp, 4 * dp * pp * micro_batch);
    format!(
        "{id},made,megatron-core,8B,32,4096,14336,swiglu,32,128256,4096,H100-SXM-80GB,{gpus},8,\
         dgx-h100-ndr,{tp},{pp},{dp},{micro_batch},{batch},bf16,{step_time_s},40,allocated"
    )
}

fn file(folder: &TempDir, rows: &[String]) -> PathBuf {
    let path = folder.path().join("runs.csv");
    fs::write(&path, format!("{COLUMNS}\n{}\n", rows.join("\n"))).unwrap();
    path
}

fn stepcast() -> Command {
    Command::cargo_bin("stepcast").unwrap()
}

fn json(output: &[u8]) -> serde_json::Value {
    serde_json::from_slice(output).unwrap()
}

#[test]
fn rows_that_cannot_be_simulated_are_told_and_counted() {
    let folder = TempDir::new().unwrap();
    let rows = [
        row("good", [2, 1, 4, 1], 3.0),
        row("no-time", [2, 1, 4, 1], 0.0),
        row("split", [3, 1, 4, 1], 3.0),
        row("no-stack", [2, 1, 4, 1], 3.0).replace("megatron-core", "jax-llm"),
        row("no-gpu", [2, 1, 4, 1], 3.0).replace("H100-SXM-80GB", "TPU-v5p"),
        row("words", [2, 1, 4, 1], 3.0).replace("4096,14336", "wide,14336"),
        row("peak", [2, 1, 4, 1], 3.0).replace(",40,allocated", ",much,allocated"),
        row("kind", [2, 1, 4, 1], 3.0).replace(",40,allocated", ",40,somewhere"),
    ];
    let path = file(&folder, &rows);
    let output = stepcast().args(["validate", "--format", "json"]).arg(&path).output().unwrap();
    assert!(output.status.success());
    let answer = json(&output.stdout);
    assert_eq!(answer["overall"]["n"], 1);
    assert_eq!(answer["overall"]["problem_count"], 7);
    let runs = answer["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 8);
    assert!(runs[0]["problem"].is_null() && runs[0]["predicted_step_time_s"].as_f64() > Some(0.0));
    assert!(runs[0]["predicted_peak_bytes"].as_u64() > Some(1 << 30));
    let words = ["step_time_s", "tp", "jax-llm", "TPU-v5p", "hidden", "peak_mem_gib", "mem_kind"];
    for (run, word) in runs[1..].iter().zip(words) {
        let problem = run["problem"].as_str().unwrap();
        assert!(problem.contains(word), "{problem}");
        assert!(run["predicted_step_time_s"].is_null());
    }
}

#[test]
fn names_that_nobody_described_get_the_nearest_and_the_run_says_so() {
    let folder = TempDir::new().unwrap();
    let unknown = row("run", [2, 1, 4, 1], 3.0)
        .replace("megatron-core", "megatron-bridge-99.01")
        .replace("dgx-h100-ndr", "dgx-h100-moon");
    let path = file(&folder, &[unknown]);
    let output = stepcast().args(["validate", "--format", "json"]).arg(&path).output().unwrap();
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(warnings.contains("`dgx-h100-moon` is taken for `dgx-h100-ndr`"), "{warnings}");
    assert!(warnings.contains("`megatron-bridge-99.01` is taken for"), "{warnings}");
    let answer = json(&output.stdout);
    assert_eq!(answer["runs"][0]["assumed"].as_array().unwrap().len(), 2);
}

#[test]
fn tables_that_are_none_of_runs_are_refused_with_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gemm.csv");
    fs::write(&path, "gpu,m,n,k,time_us\nH100,1,1,1,1\n").unwrap();
    let output = stepcast().arg("validate").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no column `id`"));
    for arguments in [["validate", "absent.csv"], ["validate", "Cargo.toml"]] {
        assert_eq!(stepcast().args(arguments).output().unwrap().status.code(), Some(2));
    }
    let empty = TempDir::new().unwrap();
    let output = stepcast().arg("validate").arg(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_run_becomes_a_page_and_a_scenario_that_simulates_alike() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, &[row("one", [2, 2, 2, 1], 3.0)]);
    let (page, runs) = (folder.path().join("page.html"), folder.path().join("runs"));
    let mut command = stepcast();
    command.args(["validate", "--format", "json"]).arg(&path);
    let output = command.arg("--report").arg(&page).arg("--scenarios").arg(&runs).output().unwrap();
    assert!(output.status.success());
    let text = fs::read_to_string(page).unwrap();
    assert!(text.contains("<svg") && text.contains("made") && text.contains("</html>"));
    let scenario = runs.join("one.toml");
    let alone = stepcast().args(["simulate", "--format", "json"]).arg(&scenario).output().unwrap();
    assert_eq!(
        json(&alone.stdout)["step_time_s"],
        json(&output.stdout)["runs"][0]["predicted_step_time_s"]
    );
}

#[test]
fn runs_of_a_slower_machine_have_its_factor() {
    let sources = DataSources::shipped();
    let plans =
        [[1, 1, 8, 1], [2, 1, 4, 1], [4, 1, 2, 2], [8, 1, 1, 2], [2, 2, 4, 1], [4, 2, 2, 1]];
    let read = |rows: &[String]| {
        let text = format!("{COLUMNS}\n{}\n", rows.join("\n"));
        let table = Table::read("runs.csv", text.as_bytes()).unwrap();
        read_runs(&sources, &table, &Assignment::default()).unwrap()
    };
    let rows = |times: &[f64]| -> Vec<String> {
        let named = plans.iter().zip(times).enumerate();
        named.map(|(index, (plan, time))| row(&format!("run-{index}"), *plan, *time)).collect()
    };
    let times: Vec<f64> = read(&rows(&[1.0; 6]))
        .iter()
        .map(|entry| {
            let text = entry.scenario.as_ref().unwrap();
            let mut scenario = load_text(&sources, &entry.id, text, &[]).unwrap();
            scenario.fit.compute_factor *= 1.15;
            stepcast::simulate(&scenario, Detail::Folded).unwrap().summary.step_time_s
        })
        .collect();
    let knob = Knob::named("compute_factor").unwrap();
    let fit = fit_runs(&sources, &read(&rows(&times)), &[knob], &|| {});
    let found = fit.fitted[0].after / fit.fitted[0].before;
    assert!((found - 1.15).abs() < 0.02, "{found}");
    let [before, after] = fit.held_out_errors.map(|errors| errors.unwrap().mape);
    assert!(before > 0.08 && after < 0.02, "{before} {after}");
    assert_eq!(fit.held_out_count, 6, "few runs are held out one by one");
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, &[row("one", [2, 2, 2, 1], 3.0)]);
    let mut command = stepcast();
    command.args(["calibrate", "runs", "--stack", "megatron-core", "--cluster", "dgx-h100-ndr"]);
    let output = command.args(["--parameters", "plan.tp"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot be fitted") && told.contains("compute_factor"), "{told}");
}

#[test]
fn a_fit_to_runs_is_used_from_the_folder_that_it_was_written_to() {
    let folder = TempDir::new().unwrap();
    let rows = [row("one", [2, 2, 2, 1], 1.2), row("two", [4, 1, 2, 1], 0.6)];
    let path = file(&folder, &rows);
    let data = folder.path().join("data");
    let mut command = stepcast();
    command.args(["calibrate", "runs", "--stack", "megatron-core", "--cluster", "dgx-h100-ndr"]);
    assert!(command.arg("--out").arg(&data).arg(&path).output().unwrap().status.success());
    let mape = |data: Option<&PathBuf>| {
        let mut command = stepcast();
        command.args(["validate", "--format", "json"]).arg(&path);
        if let Some(data) = data {
            command.arg("--data").arg(data);
        }
        let answer = json(&command.output().unwrap().stdout);
        answer["overall"]["step_time"]["mape"].as_f64().unwrap()
    };
    assert!(mape(Some(&data)) < 0.8 * mape(None), "{} {}", mape(Some(&data)), mape(None));
}
