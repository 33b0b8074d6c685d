//! Real traces beside the checkout: every good one is read whole, every bad one is refused or
//! says that it is partial.

use std::fs::File;
use std::path::{Path, PathBuf};

use stepcast::trace::{Classes, Options, Recording, TraceError, open};

/// The folder of traces; tells loudly where it is absent.
fn folder() -> Option<PathBuf> {
    let around = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).take(2);
    let found = around.map(|folder| folder.join("shared/traces")).find(|folder| folder.is_dir());
    if found.is_some() {
        return found;
    }
    eprintln!("SKIPPED: ../shared/traces is absent, so no real trace is read");
    None
}

fn read(path: &Path, frames: bool) -> Result<Recording, TraceError> {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames, shapes: frames };
    let file = File::open(path).expect("a file of the folder");
    open(&path.to_string_lossy(), file)?.read(None, &options)
}

#[test]
fn counts_of_device_work_equal_the_reference() {
    let Some(folder) = folder() else { return };
    let reference = folder.join("reference/breakdown.csv");
    let mut rows = csv::Reader::from_path(reference).expect("the reference");
    let mut read_count = 0;
    for row in rows.deserialize::<std::collections::HashMap<String, String>>() {
        let row = row.expect("a row");
        if row["file"].contains(".sqlite") {
            continue;
        }
        let recording = read(&folder.join(&row["file"]), true).expect("a trace");
        let device = recording.timeline.spans.iter().filter(|span| !span.lane.is_host()).count();
        let unlaunched: u64 =
            recording.sources.iter().map(|source| source.events_without_launch).sum();
        let found = (device.to_string(), unlaunched.to_string());
        let expected = (row["gpu_events"].clone(), row["gpu_events_without_launch"].clone());
        assert_eq!(found, expected, "{}", row["file"]);
        assert!(recording.partial.is_empty(), "{}: {:?}", row["file"], recording.partial);
        read_count += 1;
    }
    assert!(read_count > 20, "{read_count}");
}

#[test]
fn bad_files_are_one_clear_error_or_say_that_they_are_partial() {
    let Some(folder) = folder() else { return };
    // Small and unusual, but nothing in it is damaged.
    let whole = "backward_thread.json.gz";
    for entry in std::fs::read_dir(folder.join("bad")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        for frames in [false, true] {
            match read(&path, frames) {
                Ok(recording) => {
                    let is_whole = recording.partial.is_empty();
                    assert_eq!(is_whole, whole == name, "{name}: {:?}", recording.partial);
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(error.offset.is_some(), "{text}");
                    assert!(text.contains("expected") || text.contains("no trace"), "{text}");
                }
            }
        }
    }
}
