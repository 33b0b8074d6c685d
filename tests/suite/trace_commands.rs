//! `stepcast trace` as a user meets it: answers, and one clear message for what is wrong.

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Two kernels with a synchronisation between them, as the PyTorch profiler writes it.
const TRACE: &str = r#"{"schemaVersion":1,"traceEvents":[
{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,"tid":4,"ts":0,"dur":2,
 "args":{"correlation":1}},
{"ph":"X","cat":"kernel","name":"volta_sgemm","pid":0,"tid":7,"ts":5,"dur":100,
 "args":{"device":0,"stream":7,"correlation":1}},
{"ph":"X","cat":"cuda_runtime","name":"cudaStreamSynchronize","pid":9,"tid":4,"ts":3,"dur":103,
 "args":{"correlation":2}},
{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,"tid":4,"ts":116,"dur":2,
 "args":{"correlation":3}},
{"ph":"X","cat":"kernel","name":"volta_sgemm","pid":0,"tid":7,"ts":121,"dur":100,
 "args":{"device":0,"stream":7,"correlation":3}}]}"#;

/// A step in which the device waits for data, and the next.
const LOADS: &str = r#"{"schemaVersion":1,"traceEvents":[
{"ph":"X","cat":"user_annotation","name":"ProfilerStep#1","pid":9,"tid":4,"ts":0,"dur":1000,"args":{}},
{"ph":"X","cat":"user_annotation","name":"ProfilerStep#2","pid":9,"tid":4,"ts":1000,"dur":500,"args":{}},
{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,"tid":4,"ts":1,"dur":2,
 "args":{"correlation":1}},
{"ph":"X","cat":"kernel","name":"volta_sgemm","pid":0,"tid":7,"ts":5,"dur":100,
 "args":{"device":0,"stream":7,"correlation":1}},
{"ph":"X","cat":"user_annotation","name":"enumerate(DataLoader)#_Iter.__next__","pid":9,"tid":4,
 "ts":20,"dur":900,"args":{}},
{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,"tid":4,"ts":1006,"dur":2,
 "args":{"correlation":3}},
{"ph":"X","cat":"kernel","name":"volta_sgemm","pid":0,"tid":7,"ts":1011,"dur":100,
 "args":{"device":0,"stream":7,"correlation":3}}]}"#;

fn workplace() -> TempDir {
    let folder = TempDir::new().unwrap();
    let files = [
        ("good.json", TRACE),
        ("prose.json", "this is no trace"),
        ("object.json", "{\"hello\": 1}"),
        ("empty.json", ""),
        ("cut.json", &TRACE[..400]),
        ("kernels.toml", "this is = = no table"),
        ("odd.toml", "[[class]]\nclass = \"gem\"\npattern = 'x'\n"),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    folder
}

fn trace(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("stepcast").unwrap();
    let output = command.current_dir(folder).arg("trace").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const CHANGE: [&str; 2] = ["--change", "remove sync"];

/// The commands that read traces, with what they need beside files.
fn commands() -> [(&'static str, &'static [&'static str]); 4] {
    [("summarize", &[]), ("replay", &[]), ("diagnose", &[]), ("what-if", &CHANGE)]
}

/// Runs what is wrong: exit code 2, nothing on stdout, one message with this in it.
fn refused(folder: &Path, arguments: &[&str], fragment: &str) {
    let (code, out, err) = trace(folder, arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
    assert!(err.contains(fragment), "{arguments:?}: {err}");
    assert_eq!(err.matches("error").count(), 1, "{arguments:?}: {err}");
    assert!(!err.contains("panicked"), "{arguments:?}: {err}");
}

#[test]
fn files_that_are_no_traces_are_refused_by_every_command() {
    let folder = workplace();
    for (command, needed) in commands() {
        for (file, fragment) in [
            ("gone.json", "gone.json: no such file"),
            ("folder", "folder: it is a folder, expected a trace"),
            ("prose.json", "prose.json"),
            ("object.json", "object.json"),
            ("empty.json", "empty.json"),
        ] {
            let arguments = [&[command, file], needed].concat();
            refused(folder.path(), &arguments, fragment);
        }
        let (code, _, err) = trace(folder.path(), &[&[command], needed].concat());
        assert_eq!(code, 2);
        assert!(err.contains("required"), "{command}: {err}");
    }
}

#[test]
fn one_rank_twice_is_refused_where_ranks_run_together() {
    let folder = workplace();
    let ranked = TRACE.replace("{\"schemaVersion\":1", "{\"distributedInfo\":{\"rank\":3}");
    fs::write(folder.path().join("a.json"), &ranked).unwrap();
    fs::write(folder.path().join("b.json"), &ranked).unwrap();
    // A summary tells each file for itself.
    for (command, more) in commands().into_iter().filter(|it| it.0 != "summarize") {
        let arguments = [&[command, "a.json", "b.json"][..], more].concat();
        refused(folder.path(), &arguments, "says that it is rank 3, as a.json does");
    }
    // As one timeline they cannot be written.
    let arguments = ["summarize", "a.json", "b.json", "--trace", "c.json", "--quiet"];
    refused(folder.path(), &arguments, "--trace wants ranks of one job");
}

#[test]
fn tables_of_kernels_that_cannot_be_read_are_refused_by_every_command() {
    let folder = workplace();
    for (command, needed) in commands() {
        for table in ["gone.toml", "folder", "kernels.toml", "odd.toml"] {
            let arguments = [&[command, "good.json", "--kernels", table], needed].concat();
            refused(folder.path(), &arguments, table);
        }
    }
}

#[test]
fn changes_that_cannot_be_made_are_refused() {
    let folder = workplace();
    for (change, fragment) in [
        ("make it faster", "a change is one of"),
        ("scale kernels", "time=… is missing"),
        ("scale kernels time=-2", "is no factor"),
        ("remove kernels name=flash", "it selects nothing"),
        ("remove kernels name=(", "no pattern"),
        ("overlap", "it selects nothing"),
        ("set gpu=h100", "does not name its GPU"),
        ("set gpu=abacus from=v100-sxm2-32gb", "abacus"),
    ] {
        refused(folder.path(), &["what-if", "good.json", "--change", change], fragment);
    }
    refused(folder.path(), &["what-if", "good.json"], "required");
}

#[test]
fn a_trace_that_is_cut_off_is_an_error_or_said_to_be_partial() {
    let folder = workplace();
    for (command, needed) in commands() {
        let (code, out, err) = trace(folder.path(), &[&[command, "cut.json"], needed].concat());
        assert!(code == 0 || code == 2, "{command}: {err}");
        let told = format!("{out}{err}");
        assert!(told.contains("cut.json: at byte 282"), "{command}: {told}");
        assert!(code == 2 || told.contains("partial"), "{command}: {told}");
    }
}

#[test]
fn answers_are_the_same_bytes_every_time_and_as_worked_out() {
    let folder = workplace();
    for (command, needed) in commands() {
        for format in ["text", "json", "csv"] {
            let all = [&[command, "good.json", "--format", format], needed].concat();
            let (one, other) = (trace(folder.path(), &all), trace(folder.path(), &all));
            assert_eq!((one.0, one.2.as_str()), (0, ""), "{all:?}");
            assert!(!one.1.is_empty(), "{all:?}");
            assert_eq!(one, other, "{all:?}");
        }
    }
    // The idle time from 105 to 121 goes: 216 become 200.
    let arguments = [&["what-if", "good.json", "--format", "json"], &CHANGE[..]].concat();
    let answer: serde_json::Value =
        serde_json::from_str(&trace(folder.path(), &arguments).1).unwrap();
    let rounded = |key: &str| answer[key].as_f64().unwrap().round();
    assert_eq!((rounded("before_us"), rounded("after_us")), (216.0, 200.0), "{answer}");
}

#[test]
fn replayed_and_edited_timelines_are_written_the_same_every_time() {
    let folder = workplace();
    let write = |command: &str, needed: &[&str]| {
        let arguments = [&[command, "good.json", "--trace", "out.json"], needed].concat();
        let (code, _, err) = trace(folder.path(), &arguments);
        assert_eq!(code, 0, "{err}");
        fs::read(folder.path().join("out.json")).unwrap()
    };
    for (command, needed) in [("replay", &[][..]), ("what-if", &CHANGE[..])] {
        let (one, other) = (write(command, needed), write(command, needed));
        assert_eq!(one, other);
        assert!(String::from_utf8(one).unwrap().contains("volta_sgemm"));
    }
}

/// Names of all keys of a document, but for those below `left_out`, which are reasons.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                found.insert(key.clone());
                if key != "left_out" {
                    keys(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_their_json_is_on_the_page() {
    let page = include_str!("../../docs/trace-json.md");
    let folder = workplace();
    fs::write(folder.path().join("loads.json"), LOADS).unwrap();
    let change = ["good.json", "--change", "remove sync"];
    let commands: [(&str, &str, &[&str]); 6] = [
        ("trace", "summarize", &["good.json", "loads.json"]),
        ("trace", "diff", &["good.json", "good.json"]),
        ("trace", "replay", &["good.json"]),
        ("trace", "diagnose", &["loads.json"]),
        ("trace", "what-if", &change),
        ("calibrate", "trace", &["good.json", "--gpu", "h100-sxm-80gb"]),
    ];
    for (command, second, arguments) in commands {
        let title = format!("## `stepcast {command} {second} --format json`");
        let section = page.split("\n## ").find(|it| title.ends_with(it.lines().next().unwrap()));
        let section = section.unwrap_or_else(|| panic!("no section {title}"));
        let output = Command::cargo_bin("stepcast")
            .unwrap()
            .current_dir(folder.path())
            .args([command, second])
            .args(arguments)
            .args(["--format", "json"])
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).expect(second);
        assert_eq!(document["schema_version"], 1, "{second}");
        let mut found = BTreeSet::new();
        keys(&document, &mut found);
        let missing: Vec<_> =
            found.iter().filter(|key| !section.contains(&format!("`{key}`"))).collect();
        assert_eq!(missing, Vec::<&String>::new(), "{second}");
    }
}
