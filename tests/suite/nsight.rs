//! Exports of Nsight Systems as they are, against plain queries of the same file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use stepcast::timeline::Lane;
use stepcast::trace::{Classes, Options, Recording, open};

/// Unpacked exports of the shared traces; none where the folder is not there.
fn exports() -> Vec<tempfile::NamedTempFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no traces in {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".sqlite.gz"));
    paths.sort();
    let unpack = |path: &std::path::PathBuf| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = flate2::read::MultiGzDecoder::new(File::open(path).unwrap());
        io::copy(&mut bytes, &mut file).unwrap();
        file
    };
    paths.iter().map(unpack).collect()
}

fn read(path: &Path) -> Recording {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: true, shapes: true };
    let opened = open("export.sqlite", File::open(path).unwrap()).unwrap();
    assert!(opened.format.needs_path());
    opened.read(Some(path), &options).unwrap()
}

/// Kernels of a device: how many, and nanoseconds in which at least one ran.
fn union(mut intervals: Vec<(i64, i64)>) -> (usize, i64) {
    intervals.sort_unstable();
    let mut covered = 0;
    let mut reached = i64::MIN;
    for &(start, end) in &intervals {
        covered += (end - start.max(reached)).max(0);
        reached = reached.max(end);
    }
    (intervals.len(), covered)
}

#[test]
fn device_work_of_exports_is_what_their_tables_say() {
    for export in exports() {
        let recording = read(export.path());
        assert!(recording.partial.is_empty(), "{:?}", recording.partial);
        let database = rusqlite::Connection::open(export.path()).unwrap();
        let mut said: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
        for table in ["KERNEL", "MEMCPY", "MEMSET"] {
            let query = format!("SELECT deviceId, start, end FROM CUPTI_ACTIVITY_KIND_{table}");
            let mut statement = database.prepare(&query).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let device: i64 = row.get(0).unwrap();
                let times = (row.get(1).unwrap(), row.get(2).unwrap());
                said.entry(device as u64).or_default().push(times);
            }
        }
        assert_eq!(recording.sources.len(), said.len());
        for (process, source) in (0..).zip(&recording.sources) {
            let read = recording.timeline.spans.iter().filter(|span| span.process == process);
            let read = read.filter(|span| matches!(span.lane, Lane::Stream(_)));
            let ns = |at: stepcast::units::Instant| (at.ps() / 1000) as i64;
            let read: Vec<_> = read.map(|span| (ns(span.start), ns(span.end))).collect();
            let expected = said.remove(&source.device.unwrap()).unwrap();
            assert_eq!(union(read), union(expected), "device {:?}", source.device);
        }
        let launched = "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL AS k WHERE NOT EXISTS \
            (SELECT 1 FROM CUPTI_ACTIVITY_KIND_RUNTIME AS r WHERE \
             r.correlationId = k.correlationId AND (r.globalTid >> 24) = (k.globalPid >> 24))";
        let orphans: u64 = ["KERNEL", "MEMCPY", "MEMSET"]
            .iter()
            .map(|table| launched.replace("KIND_KERNEL", &format!("KIND_{table}")))
            .map(|query| database.query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap() as u64)
            .sum();
        let read: u64 = recording.sources.iter().map(|it| it.events_without_launch).sum();
        assert_eq!(read, orphans);
        assert!(!recording.communications.is_empty() && !recording.timeline.frames.is_empty());
    }
}
