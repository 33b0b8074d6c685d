//! The command line as a user meets it: exit codes, streams, messages.

use assert_cmd::Command;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SCENARIO: &str = include_str!("fixtures/scenario.toml");

/// A folder with a scenario and the user's own data.
fn workplace() -> TempDir {
    let folder = TempDir::new().unwrap();
    let files = [
        ("my.toml", SCENARIO),
        ("own/hardware/gpus/test-gpu.toml", include_str!("fixtures/gpu.toml")),
        ("own/clusters/test-cluster.toml", include_str!("fixtures/cluster.toml")),
        ("own/configs/stacks/test-stack.toml", include_str!("fixtures/stack.toml")),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn stepcast(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("stepcast")
        .unwrap()
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_valid_scenario_is_checked_from_any_folder_with_own_data() {
    let folder = workplace();
    let (code, out, err) = stepcast(folder.path(), &["check", "my.toml", "--data", "own"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("Test model on 64 ranks"), "{out}");
}

#[test]
fn the_resolved_scenario_is_printed_as_json_with_overrides_applied() {
    let folder = workplace();
    let arguments = ["check", "my.toml", "--data", "own", "--format", "json", "--set", "plan.tp=8"];
    let (code, out, _) = stepcast(folder.path(), &arguments);
    let scenario: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(scenario["plan"]["tp"], 8);
    let memory: stepcast::units::Bytes =
        serde_json::from_value(scenario["cluster"]["gpu"]["memory"].clone()).unwrap();
    assert!((memory.value() - 80e9).abs() < 1.0, "{memory}");
    assert_eq!(scenario["name"], "my");
}

#[test]
fn a_wrong_scenario_exits_with_2_and_tells_all_on_stderr() {
    let folder = workplace();
    let arguments =
        ["check", "my.toml", "--data", "own", "--set", "plan.tp=7", "--set", "trainin.x=1"];
    let (code, out, err) = stepcast(folder.path(), &arguments);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("plan.tp = 7: must divide model.head_count (32)"), "{err}");
    assert!(err.contains("did you mean `training`?"), "{err}");
    assert!(err.contains("--> command line:1:"), "{err}");
    assert!(!err.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn colours_are_there_when_asked_for() {
    let folder = workplace();
    let arguments = ["check", "my.toml", "--color", "always"];
    let (code, _, err) = stepcast(folder.path(), &arguments);
    assert_eq!(code, 2);
    assert!(err.contains('\u{1b}'), "{err}");
}

#[test]
fn warnings_go_to_stderr_and_quiet_stops_them() {
    let folder = workplace();
    let arguments = ["check", "my.toml", "--data", "own", "--set", "plan.dp=4"];
    let (code, _, err) = stepcast(folder.path(), &arguments);
    assert_eq!(code, 0);
    assert!(err.contains("warning: the plan uses 32 of the cluster's 64 GPUs"), "{err}");
    let (_, _, err) = stepcast(folder.path(), &[&arguments[..], &["--quiet"]].concat());
    assert_eq!(err, "");
}

#[test]
fn files_that_cannot_be_read_exit_with_2() {
    let folder = workplace();
    fs::write(folder.path().join("binary.toml"), [0xff, 0xfe, 0x00]).unwrap();
    let cases = [
        (["check", "gone.toml"], "no such file"),
        (["check", "own"], "folder"),
        (["check", "binary.toml"], "not UTF-8"),
        (["check", "--set"], "value is required"),
        (["check", "my.toml --set"], "cannot read"),
        (["list", "nothing"], "invalid value"),
        (["--data", "gone"], ""),
    ];
    for (arguments, fragment) in cases {
        let (code, out, err) = stepcast(folder.path(), &arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(fragment), "{arguments:?}: {err}");
    }
    let (code, _, err) = stepcast(folder.path(), &["list", "gpus", "--data", "gone"]);
    assert_eq!(code, 2);
    assert!(err.contains("not a folder"), "{err}");
}

#[test]
fn lists_show_what_own_folders_add_in_every_format() {
    let folder = workplace();
    let list = |what: &str, format: &str| {
        let arguments = ["list", what, "--data", "own", "--format", format];
        let (code, out, err) = stepcast(folder.path(), &arguments);
        assert_eq!(code, 0, "{err}");
        out
    };
    for (what, name) in
        [("gpus", "test-gpu"), ("clusters", "test-cluster"), ("stacks", "test-stack")]
    {
        assert!(list(what, "text").contains(name));
        assert!(list(what, "csv").contains(&format!("{name},")));
        let rows: serde_json::Value = serde_json::from_str(&list(what, "json")).unwrap();
        assert!(rows.as_array().unwrap().iter().any(|row| row["name"] == name));
    }
    assert!(list("schedules", "text").contains("1f1b"));
}

#[test]
fn the_schema_takes_parts_by_name_whole_and_with_a_base() {
    let folder = workplace();
    let (code, out, _) = stepcast(folder.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    let model = schema["properties"]["model"]["anyOf"].as_array().unwrap();
    assert_eq!(model[0]["type"], "string");
    assert_eq!(model[1]["$ref"], "#/$defs/Model");
    assert_eq!(schema["$defs"]["ModelWithBase"]["required"], serde_json::json!(["base"]));
    let gpu = &schema["$defs"]["Cluster"]["properties"]["gpu"]["anyOf"];
    assert_eq!(gpu[2]["$ref"], "#/$defs/GpuWithBase");
    let tp = schema["$defs"]["Plan"]["properties"]["tp"]["description"].as_str().unwrap();
    assert!(tp.contains("Tensor-parallel"));
}

const LLAMA: &str = r#"{
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "hidden_act": "silu", "tie_word_embeddings": false,
    "attention_bias": false, "rope_theta": 500000.0
}"#;

#[test]
fn a_hugging_face_configuration_becomes_a_model_file_that_loads() {
    let folder = workplace();
    fs::write(folder.path().join("config.json"), LLAMA).unwrap();
    let arguments = ["import", "hf", "config.json", "--out", "llama.toml"];
    let (code, out, err) = stepcast(folder.path(), &arguments);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("not used: rope_theta"), "{err}");
    assert!(err.contains("assumed: mlp_bias = false"), "{err}");
    // Llama 3 8B has 8,030,261,248 parameters (Llama team 2024).
    assert!(err.contains("8.030 billion"), "{err}");
    let arguments = ["check", "my.toml", "--data", "own", "--set", "model=llama.toml"];
    let (code, out, err) = stepcast(folder.path(), &arguments);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("ok: llama on 64 ranks"), "{out}");
}

#[test]
fn what_a_model_file_cannot_say_is_not_imported() {
    let folder = workplace();
    let cases = [
        (LLAMA.replace("\"llama\"", "\"mamba\""), "supported are llama, mistral"),
        (LLAMA.replace("rope_theta", "num_local_experts"), "mixture of experts"),
        (LLAMA.replace("\"silu\"", "\"gelu\""), "must be one of silu"),
        (LLAMA.replace("\"vocab_size\": 128256,", ""), "`vocab_size` is missing"),
        (LLAMA.replace("4096", "-1"), "a whole number above zero"),
        (LLAMA.replace("\"attention_bias\": false", "\"attention_bias\": true"), "attention_bias"),
        ("[1]".to_owned(), "not a JSON object"),
        ("{".to_owned(), "not a JSON object"),
    ];
    for (text, fragment) in cases {
        fs::write(folder.path().join("config.json"), &text).unwrap();
        let arguments = ["import", "hf", "config.json", "--out", "model.toml"];
        let (code, _, err) = stepcast(folder.path(), &arguments);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(fragment), "{fragment}: {err}");
        assert!(!folder.path().join("model.toml").exists());
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind_and_exits_with_1() {
    let folder = workplace();
    fs::write(folder.path().join("config.json"), LLAMA).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    for target in ["own", "gone/model.toml"] {
        let arguments = ["import", "hf", "config.json", "--out", target];
        let (code, _, err) = stepcast(folder.path(), &arguments);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("error: cannot write"), "{err}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}
