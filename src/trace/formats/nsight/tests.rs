//! Small databases made here, of several versions, whole and broken.

mod nccl;

use rusqlite::Connection;
use std::path::Path;

use super::*;
use crate::timeline::{Call, FrameKind, Lane};
use crate::trace::Classes;
use crate::units::Instant;

/// Process 7 on host 1, as exports serialise it; thread 9 of it.
const PID: i64 = (1 << 48) | (7 << 24);
const TID: i64 = PID | 9;

/// What every export here has: two kernels on one device, their launches, a copy of a graph.
fn tables() -> String {
    format!(
        "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
         INSERT INTO StringIds VALUES (1, 'ampere_sgemm_64'), (2, 'ncclDevKernel_AllReduce'),
             (3, 'cudaLaunchKernel_v7000'), (4, 'cudaStreamWaitEvent_v3020'), (5, 'pt_main'),
             (6, 'cudaEventRecord_v3020'), (7, 'ncclAllReduce'), (8, 'cudaStreamSynchronize');
         CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER,
             contextId INTEGER, streamId INTEGER, correlationId INTEGER, globalPid INTEGER,
             demangledName INTEGER, shortName INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES
             (1000, 1500, 0, 1, 7, 11, {PID}, 1, 1), (1600, 2000, 0, 1, 20, 12, {PID}, 2, 2);
         CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER,
             correlationId INTEGER, nameId INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (800, 810, {TID}, 11, 3),
             (820, 830, {TID}, 12, 3), (840, 850, {TID}, 13, 4), (835, 838, {TID}, 14, 6),
             (860, 990, {TID}, 15, 8);
         CREATE TABLE ThreadNames (nameId INTEGER, globalTid INTEGER);
         INSERT INTO ThreadNames VALUES (5, {TID});
         CREATE TABLE CUPTI_ACTIVITY_KIND_SYNCHRONIZATION (start INTEGER, end INTEGER,
             deviceId INTEGER, streamId INTEGER, syncType INTEGER, correlationId INTEGER,
             globalPid INTEGER, eventId INTEGER, eventSyncId INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_SYNCHRONIZATION VALUES
             (840, 850, 0, 20, 2, 13, {PID}, 3, 40), (860, 990, 0, 7, 3, 15, {PID}, 0, 0);
         CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT,
             textId INTEGER, globalTid INTEGER, endGlobalTid INTEGER);
         INSERT INTO NVTX_EVENTS VALUES
             (700, 995, 59, 'ProfilerStep#3', NULL, {TID}, NULL),
             (790, 815, 59, 'aten::mm, seq = 0, op_id = 5, sizes = [[4, 8], [8, 2], []], input_op_ids = [[1,0]]',
              NULL, {TID}, NULL),
             (816, 834, 59, NULL, 7, {TID}, NULL),
             (795, 825, 60, 'crosses', NULL, {TID}, {TID}),
             (780, 836, 60, 'around', NULL, {TID}, {TID}),
             (780, 836, 34, 'a mark', NULL, {TID}, NULL);
         CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);
         INSERT INTO TARGET_INFO_GPU VALUES (4, 'NVIDIA H100 80GB HBM3');
         CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INTEGER, cudaId INTEGER, pid INTEGER);
         INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (4, 0, 7);"
    )
}

/// Makes a database of these statements and reads it.
fn read(statements: &str) -> Result<Recording, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a #1?.sqlite");
    Connection::open(&path).unwrap().execute_batch(statements).unwrap();
    read_file(&path)
}

fn read_file(path: &Path) -> Result<Recording, TraceError> {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: true, shapes: true };
    let input = Input { name: "a.sqlite", bytes: &mut std::io::empty(), path: Some(path) };
    Nsight.read(input, &options)
}

fn names(recording: &Recording) -> Vec<&str> {
    let labels = &recording.timeline.labels;
    recording.timeline.spans.iter().map(|span| labels.name(span.label)).collect()
}

#[test]
fn kernels_find_their_launches_their_device_and_their_names() {
    let recording = read(&tables()).unwrap();
    assert!(recording.partial.is_empty(), "{:?}", recording.partial);
    assert_eq!(recording.sources.len(), 1);
    assert_eq!(recording.sources[0].device, Some(4));
    assert_eq!(recording.sources[0].device_name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
    assert_eq!(recording.sources[0].events_without_launch, 0);
    let kernels = ["ampere_sgemm_64", "ncclDevKernel_AllReduce"];
    assert_eq!(names(&recording)[5..], kernels);
    assert_eq!(recording.timeline.spans[5].start, Instant::from_ps(300_000));
    assert_eq!(recording.timeline.spans[5].end, Instant::from_ps(800_000));
    assert_eq!(recording.launched_by[5].map(|call| call.0), Some(0));
    assert_eq!(recording.communications.len(), 1);
    assert!(recording.timeline.lane_names.iter().any(|&(_, lane, name)| {
        lane == Lane::Thread(0) && recording.timeline.labels.name(name) == "thread 9 (pt_main)"
    }));
}

#[test]
fn ranges_are_frames_operators_and_steps_and_only_nested_ones_count() {
    let recording = read(&tables()).unwrap();
    let timeline = &recording.timeline;
    let frames: Vec<(FrameKind, &str)> =
        timeline.frames.iter().map(|it| (it.kind, timeline.labels.name(it.label))).collect();
    let expected = [
        (FrameKind::Annotation, "ProfilerStep#3"),
        (FrameKind::Annotation, "around"),
        (FrameKind::Operator, "aten::mm"),
        (FrameKind::Annotation, "ncclAllReduce"),
    ];
    assert_eq!(frames, expected);
    assert_eq!(timeline.steps.len(), 1);
    assert_eq!(timeline.steps[0].number, 3);
    assert_eq!(recording.operators.len(), 1);
    assert_eq!(recording.operators[0].shapes, [vec![4, 8], vec![8, 2], vec![]]);
}

#[test]
fn a_wait_has_a_target_only_where_the_record_is_in_the_file() {
    let without = read(&tables()).unwrap();
    assert_eq!(without.waits.len(), 1);
    assert_eq!((without.waits[0].stream, without.waits[0].target), (Some(1), None));
    let calls = without.timeline.spans.iter().filter_map(|span| span.call);
    assert_eq!(calls.filter(|&call| call == Call::WaitEvent).count(), 1);
    assert_eq!(without.synchronized.len(), 1);
    assert_eq!(without.synchronized[0].target.stream, Some(0));
    let record = format!(
        "CREATE TABLE CUPTI_ACTIVITY_KIND_CUDA_EVENT (streamId INTEGER, correlationId INTEGER,
             globalPid INTEGER, eventId INTEGER, eventSyncId INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_CUDA_EVENT VALUES (7, 14, {PID}, 3, 40);"
    );
    let with = read(&(tables() + &record)).unwrap();
    let target = with.waits[0].target.unwrap();
    assert_eq!(target.stream, Some(0));
    assert_eq!(target.record.map(|call| with.name(call)), Some("cudaEventRecord_v3020"));
}

#[test]
fn two_processes_that_see_one_gpu_each_are_two_devices() {
    let other = PID + (1 << 24);
    let more = format!(
        "INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (5, 0, 8);
         INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 1500, 0, 1, 7, 11, {other}, 1, 1);
         INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (900, 910, {other} + 3, 11, 3);"
    );
    let recording = read(&(tables() + &more)).unwrap();
    let devices: Vec<Option<u64>> = recording.sources.iter().map(|it| it.device).collect();
    assert_eq!(devices, [Some(4), Some(5)]);
    // Equal correlations of two processes are two launches.
    let of_second =
        recording.timeline.spans.iter().position(|span| span.process == 1 && !span.lane.is_host());
    let call = recording.launched_by[of_second.unwrap()].unwrap();
    assert_eq!(recording.timeline.spans[call.0 as usize].process, 1);
}

#[test]
fn graphs_copies_and_fills_are_device_work_and_streams_of_two_contexts_stay_apart() {
    let more = format!(
        "CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INTEGER, end INTEGER,
             deviceId INTEGER, contextId INTEGER, streamId INTEGER, graphId INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (3000, 3500, 0, 1, 7, 6);
         CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, deviceId INTEGER,
             contextId INTEGER, streamId INTEGER, globalPid INTEGER, bytes INTEGER,
             copyKind INTEGER, srcKind INTEGER, dstKind INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (3100, 3200, 0, 2, 7, {PID}, 64, 1, 0, 2);
         CREATE TABLE CUPTI_ACTIVITY_KIND_MEMSET (start INTEGER, end INTEGER, deviceId INTEGER,
             streamId INTEGER, bytes INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_MEMSET VALUES (3300, 3301, 0, 7, 16);"
    );
    // Without a process the number of the process is that of the device itself.
    let recording = read(&(tables() + &more)).unwrap();
    let names = names(&recording);
    for name in ["CUDA graph 6", "Memcpy HtoD (Pageable -> Device)", "Memset (Device)"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let copy = names.iter().position(|name| name.starts_with("Memcpy")).unwrap();
    assert_ne!(recording.timeline.spans[copy].lane, recording.timeline.spans[5].lane);
    assert_eq!(recording.timeline.spans[copy].bytes.value(), 64.0);
}

#[test]
fn a_table_of_an_old_version_without_wished_columns_is_read() {
    let old = "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
         INSERT INTO StringIds VALUES (1, 'kernel_a');
         CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER,
             streamId INTEGER, correlationId INTEGER, shortName INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1, 2, 0, 7, 5, 1);
         CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER,
             globalTid INTEGER, correlationId INTEGER);
         INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (0, 1, 16777217, 5);";
    let recording = read(old).unwrap();
    assert_eq!(names(&recording), ["call without a name", "kernel_a"]);
    assert_eq!(recording.launched_by[1].map(|call| call.0), Some(0));
}

#[test]
fn what_is_no_export_is_refused_with_what_it_is() {
    let other = read("CREATE TABLE customers (id INTEGER);").unwrap_err().to_string();
    assert!(other.contains("a.sqlite: not an export of Nsight Systems: has customers"), "{other}");
    let empty = read("").unwrap_err().to_string();
    assert!(empty.contains("no tables") || empty.contains("broken"), "{empty}");
    let lacking =
        tables().replace("streamId INTEGER, correlationId", "stream INTEGER, correlationId");
    let lacking = read(&lacking).unwrap_err().to_string();
    assert!(lacking.contains("CUPTI_ACTIVITY_KIND_KERNEL lacks streamId"), "{lacking}");
}

#[test]
fn an_export_without_gpu_work_says_so() {
    let strings = "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
         CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, globalTid INTEGER, text TEXT);
         INSERT INTO NVTX_EVENTS VALUES (1, 5, 3, 'loading');";
    let recording = read(strings).unwrap();
    assert!(recording.partial[0].contains("no work of a GPU"), "{:?}", recording.partial);
    assert_eq!(recording.timeline.frames.len(), 1);
}

#[test]
fn databases_cut_off_or_overwritten_anywhere_are_errors_or_partial_and_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.sqlite");
    let many = format!(
        "INSERT INTO NVTX_EVENTS SELECT value, value + 1, 59, 'range ' || value, NULL, {TID}, NULL
             FROM generate_series(2000, 6000);"
    );
    // `generate_series` is not built in, so rows are made by a query of its own.
    let many = many.replace(
        "generate_series(2000, 6000)",
        "(WITH RECURSIVE n(value) AS (SELECT 2000 UNION ALL SELECT value + 1 FROM n LIMIT 4000)
          SELECT value FROM n)",
    );
    Connection::open(&whole).unwrap().execute_batch(&(tables() + &many)).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let damaged = folder.path().join("damaged.sqlite");
    let mut partial = 0;
    let mut refused = 0;
    for step in 0..48 {
        let at = bytes.len() * step / 48;
        let mut overwritten = bytes.clone();
        let until = (at + 900).min(bytes.len());
        overwritten[at..until].iter_mut().for_each(|byte| *byte = 0xa5);
        for content in [&bytes[..at], &overwritten] {
            std::fs::write(&damaged, content).unwrap();
            match read_file(&damaged) {
                Ok(recording) => partial += usize::from(!recording.partial.is_empty()),
                Err(error) => {
                    assert!(error.to_string().len() > "a.sqlite: ".len());
                    refused += 1;
                }
            }
        }
    }
    assert!(partial > 10 && refused > 10, "{partial} partial, {refused} refused");
}
