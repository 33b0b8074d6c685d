//! Small files with every hazard that was met in real ones.

mod collectives;
mod judge;

use std::io::{Read, Write};

use super::*;
use crate::timeline::{FrameKind, Lane, SpanId};
use crate::trace::{Classes, open};
use crate::units::Instant;

/// Gives few bytes at a time.
struct Sips<'a>(&'a [u8], usize);

impl Read for Sips<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

fn read(text: impl AsRef<[u8]>) -> Result<Recording, TraceError> {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: true, shapes: true };
    open("a.json", Sips(text.as_ref(), 7))?.read(None, &options)
}

/// A file with these events.
fn events(events: &[&str]) -> String {
    format!(r#"{{"schemaVersion":1,"traceEvents":[{}]}}"#, events.join(","))
}

const LAUNCH: &str = r#"{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,
    "tid":4,"ts":10.5,"dur":2,"args":{"cbid":211,"correlation":77}}"#;
const KERNEL: &str = r#"{"ph":"X","cat":"kernel","name":"k","pid":3,"tid":7,"ts":20,
    "dur":1.25,"args":{"device":3,"stream":7,"correlation":77}}"#;

/// The only device span.
fn device_span(recording: &Recording) -> SpanId {
    let found: Vec<u32> = (0..recording.timeline.spans.len() as u32)
        .filter(|&it| recording.is_device(SpanId(it)))
        .collect();
    assert_eq!(found.len(), 1);
    SpanId(found[0])
}

#[test]
fn a_kernel_finds_its_launch_and_its_time_is_exact() {
    let recording = read(events(&[KERNEL, LAUNCH])).unwrap();
    assert_eq!(recording.partial, Vec::<String>::new());
    assert_eq!(recording.origin_ns, 10_500);
    let kernel = device_span(&recording);
    let span = &recording.timeline.spans[kernel.0 as usize];
    assert_eq!((span.start, span.end), (Instant::from_ps(9_500_000), Instant::from_ps(10_750_000)));
    assert_eq!(recording.launched_by[kernel.0 as usize], Some(SpanId(0)));
    assert_eq!(recording.sources[0].device, Some(3));
}

#[test]
fn times_of_absolute_clocks_keep_their_nanoseconds() {
    let late = KERNEL.replace("\"ts\":20", "\"ts\":1740461679544732.123");
    let recording = read(events(&[&late])).unwrap();
    assert_eq!(recording.origin_ns, 1_740_461_679_544_732_123);
}

#[test]
fn the_base_of_the_clock_counts_wherever_it_is_written() {
    let base = "\"baseTimeNanoseconds\":1711964646000000000";
    let after = format!("{{\"traceEvents\":[{LAUNCH}],{base}}}");
    let before = format!("{{{base},\"traceEvents\":[{LAUNCH}]}}");
    assert_eq!(read(after).unwrap().origin_ns, 1_711_964_646_000_010_500);
    assert_eq!(read(before).unwrap().origin_ns, 1_711_964_646_000_010_500);
}

#[test]
fn old_names_and_texts_for_numbers_mean_the_same() {
    let new = read(events(&[LAUNCH, KERNEL])).unwrap();
    let kernel = r#"{"ph":"X","cat":"Kernel","name":"k","pid":3,"tid":"stream 7","ts":"20",
        "dur":"1.25","args":{"device":3,"stream":"7","correlation":"77"}}"#;
    let launch = r#"{"ph":"X","cat":"Runtime","name":"cudaLaunchKernel","pid":"9","tid":"4",
        "ts":"10.5","dur":2.0,"args":{"correlation":77,"external ts":1}}"#;
    assert_eq!(read(events(&[launch, kernel])).unwrap(), new);
}

#[test]
fn chrome_s_bare_list_needs_no_end() {
    let whole = read(events(&[LAUNCH, KERNEL])).unwrap();
    assert_eq!(read(format!("[{LAUNCH},\n{KERNEL}\n]")).unwrap(), whole);
    assert_eq!(read(format!("\u{feff} [{LAUNCH},{KERNEL},\n")).unwrap(), whole);
}

#[test]
fn begins_and_ends_are_ranges_that_nest() {
    let recording = read(events(&[
        r#"{"ph":"B","name":"outer","cat":"user_annotation","pid":1,"tid":"main","ts":1}"#,
        r#"{"ph":"B","name":"inner","pid":1,"tid":"main","ts":2}"#,
        r#"{"ph":"B","name":"other thread","pid":1,"tid":"loader","ts":2.5}"#,
        r#"{"ph":"E","pid":1,"tid":"main","ts":3}"#,
        r#"{"ph":"E","pid":1,"tid":"main","ts":5}"#,
        r#"{"ph":"E","pid":1,"tid":"main","ts":6}"#,
    ]))
    .unwrap();
    let frames = &recording.timeline.frames;
    let found: Vec<(&str, u64)> = frames
        .iter()
        .map(|it| (recording.timeline.labels.name(it.label), (it.end - it.start).value() as u64))
        .collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].0, found[1].0), ("outer", "inner"));
    assert_eq!(frames[0].end, Instant::from_ps(4_000_000));
    assert_eq!(frames[1].end, Instant::from_ps(2_000_000));
    assert!(recording.partial[0].contains("1 ranges begin"), "{:?}", recording.partial);
}

#[test]
fn streams_without_a_number_are_streams() {
    let one = KERNEL.replace("\"stream\":7", "\"stream\":-1");
    let other = KERNEL.replace("\"stream\":7", "\"stream\":4294967295");
    let recording = read(events(&[&one, &other])).unwrap();
    let lanes: Vec<Lane> = recording.timeline.spans.iter().map(|span| span.lane).collect();
    assert_eq!(lanes, [Lane::Stream(0), Lane::Stream(1)]);
}

#[test]
fn a_wait_for_an_event_names_its_record_and_minus_one_is_none() {
    let call = |name: &str, ts: u64, correlation: u64| {
        format!(
            r#"{{"ph":"X","cat":"cuda_runtime","name":"{name}","pid":9,"tid":4,"ts":{ts},"dur":1,
            "args":{{"correlation":{correlation}}}}}"#
        )
    };
    let sync = |name: &str, stream: i64, record: i64, correlation: u64| {
        format!(
            r#"{{"ph":"X","cat":"cuda_sync","name":"{name}","pid":0,"tid":{stream},"ts":30,
            "dur":0,"args":{{"cuda_sync_kind":"{name}","wait_on_stream":7,"stream":{stream},
            "wait_on_cuda_event_record_corr_id":{record},"wait_on_cuda_event_id":-1,
            "correlation":{correlation},"device":0,"context":1}}}}"#
        )
    };
    let on = |stream: u64| {
        KERNEL.replace("\"stream\":7", &format!("\"stream\":{stream}")).replace(":3,", ":0,")
    };
    let recording = read(events(&[
        &call("cudaEventRecord", 1, 5),
        &call("cudaStreamWaitEvent", 2, 6),
        &call("cudaStreamSynchronize", 3, 8),
        &sync("Stream Wait Event", 20, 5, 6),
        &sync("Stream Sync", -1, -1, 8),
        &on(7),
        &on(20),
    ]))
    .unwrap();
    let wait = recording.waits[0];
    assert_eq!((wait.stream, wait.call), (Some(1), Some(SpanId(1))));
    let target = wait.target.unwrap();
    assert_eq!((target.stream, target.record), (Some(0), Some(SpanId(0))));
    let on = recording.synchronized[0];
    assert_eq!((on.call, on.target.stream, on.target.record), (SpanId(2), Some(0), None));
    let busy = recording.timeline.spans.iter().filter(|span| !span.lane.is_host()).count();
    assert_eq!(busy, 2, "records of synchronisation are no work");
}

#[test]
fn a_collective_says_what_it_sends() {
    let kernel = r#"{"ph":"X","cat":"kernel","name":"ncclDevKernel_Generic","pid":0,"tid":20,
        "ts":1,"dur":9,"args":{"Collective name":"_allgather_base","dtype":"BFloat16",
        "In msg nelems":100,"Out msg nelems":800,"Group size":8,"Process Group Name":"3",
        "Process Group Description":"dp","Seq":12,"stream":20,"device":0}}"#;
    let annotation = r#"{"ph":"X","cat":"user_annotation","name":"nccl:all_gather","pid":1,"tid":1,
        "ts":1,"dur":1}"#;
    let recording = read(events(&[kernel, annotation])).unwrap();
    assert_eq!(recording.communications.len(), 1);
    let said = &recording.communications[0];
    assert_eq!(said.kind, Some(crate::work::CollectiveKind::AllGather));
    assert_eq!(said.bytes.map(|bytes| bytes.value()), Some(1600.0));
    assert_eq!((said.group_size, said.sequence), (Some(8), Some(12)));
    assert_eq!(said.communicator.map(|it| recording.timeline.labels.name(it)), Some("3"));
}

#[test]
fn steps_frames_shapes_memory_and_names_are_kept() {
    let text = format!(
        r#"{{"deviceProperties":[{{"id":3,"name":"NVIDIA X"}}],
        "distributedInfo":{{"backend":"nccl","rank":2,"world_size":8}},"traceEvents":[{KERNEL},
        {{"ph":"X","cat":"user_annotation","name":"ProfilerStep#7","pid":9,"tid":4,"ts":5,"dur":90}},
        {{"ph":"X","cat":"gpu_user_annotation","name":"ProfilerStep#7","pid":3,"tid":7,"ts":9,"dur":9}},
        {{"ph":"X","cat":"cpu_op","name":"aten::cat","pid":9,"tid":4,"ts":6,"dur":1,"args":
        {{"Input Dims":[[[2,3],[4]],[],[5]],"Input type":["TensorList","Scalar","float"]}}}},
        {{"ph":"X","cat":"python_function","name":"a.py(3): f","pid":9,"tid":4,"ts":7,"dur":1}},
        {{"ph":"i","s":"t","name":"[memory]","pid":9,"tid":4,"ts":8,"args":{{"Total Allocated":512,
        "Device Type":1,"Device Id":3}}}},
        {{"ph":"i","s":"t","name":"[memory]","pid":9,"tid":4,"ts":8,"args":{{"Total Allocated":9,
        "Device Type":0,"Device Id":-1}}}},
        {{"name":"thread_name","ph":"M","ts":1,"pid":9,"tid":4,"args":{{"name":"thread 4 (pt_main)"}}}},
        {{"ph":"s","id":77,"pid":9,"tid":4,"ts":11,"cat":"ac2g","name":"ac2g"}}]}}"#
    );
    let recording = read(text).unwrap();
    let source = &recording.sources[0];
    assert_eq!((source.rank, source.world_size), (Some(2), Some(8)));
    assert_eq!(source.device_name.as_deref(), Some("NVIDIA X"));
    let timeline = &recording.timeline;
    assert_eq!(timeline.steps.iter().map(|step| step.number).collect::<Vec<_>>(), [7]);
    let kinds: Vec<FrameKind> = timeline.frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [FrameKind::Annotation, FrameKind::Operator, FrameKind::Python]);
    let operator = &recording.operators[0];
    assert_eq!(operator.frame, 1);
    assert_eq!(operator.shapes, [vec![2, 3], vec![4], vec![], vec![5]]);
    assert_eq!(operator.dtypes, ["TensorList", "TensorList", "Scalar", "float"]);
    assert_eq!(timeline.memory.len(), 1);
    assert_eq!(timeline.memory[0].allocated.value(), 512.0);
    let names: Vec<&str> =
        timeline.lane_names.iter().map(|&(_, _, label)| timeline.labels.name(label)).collect();
    assert!(names.contains(&"thread 4 (pt_main)"), "{names:?}");
}

#[test]
fn a_recording_that_lost_most_launches_says_so() {
    let alone = read(events(&[KERNEL])).unwrap();
    let told = "1 of 1 GPU events have no launch in the file, so that most of what the host did is \
                not there";
    assert_eq!(alone.partial, [told]);
    assert_eq!(read(events(&[LAUNCH, KERNEL])).unwrap().partial, Vec::<String>::new());
}

#[test]
fn steps_are_kept_where_frames_are_not() {
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: false, shapes: false };
    let step =
        r#"{"ph":"X","cat":"Operator","name":"ProfilerStep#7","pid":9,"tid":4,"ts":5,"dur":9}"#;
    let operator = r#"{"ph":"X","cat":"cpu_op","name":"aten::mm","pid":9,"tid":4,"ts":5,"dur":9}"#;
    let text = events(&[step, operator, LAUNCH, KERNEL]);
    let recording = open("a.json", text.as_bytes()).unwrap().read(None, &options).unwrap();
    assert_eq!((recording.timeline.steps.len(), recording.timeline.frames.len()), (1, 0));
    assert_eq!(recording.partial, Vec::<String>::new());
}

#[test]
fn events_that_make_no_sense_are_left_out_and_counted() {
    let recording = read(events(&[
        &KERNEL.replace("\"ts\":20", "\"ts\":NaN"),
        &KERNEL.replace("1.25", "-5"),
        &KERNEL.replace("\"ts\":20,", ""),
        "17",
        r#"{"name":"no phase"}"#,
        KERNEL,
    ]))
    .unwrap();
    device_span(&recording);
    let told = &recording.partial[0];
    assert!(told.starts_with("left out 5 of 6 events"), "{told}");
    assert!(told.contains("the first at byte 34: no `ts`"), "{told}");
}

#[test]
fn words_and_texts_that_json_lacks_do_not_cost_the_event() {
    for broken in [
        r#""warps per SM":inf,"#,
        r#""occupancy":-nan(ind),"#,
        r#""path":"C:\Users\xy","#,
        "\"note\":\"a\u{1}b\",",
        r#""a":1,,"#,
    ] {
        let kernel = KERNEL.replace("\"device\"", &format!("{broken}\"device\""));
        let recording = read(events(&[LAUNCH, &kernel])).unwrap();
        assert_eq!(recording, read(events(&[LAUNCH, KERNEL])).unwrap(), "{broken}");
    }
    let bytes: Vec<u8> = events(&[LAUNCH, KERNEL])
        .bytes()
        .map(|byte| if byte == b'k' { 0xff } else { byte })
        .collect();
    assert!(read(bytes).is_ok());
}

#[test]
fn a_missing_quote_costs_one_event() {
    let broken = KERNEL.replace("\"k\"", "\"k");
    for glue in [",\n", ","] {
        let text = format!("{{\"traceEvents\":[{broken}{glue}{LAUNCH}{glue}{KERNEL}]}}");
        let recording = read(text).unwrap();
        device_span(&recording);
        assert!(recording.partial[0].starts_with("left out 1 of"), "{:?}", recording.partial);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_or_says_that_it_is_partial() {
    let text = events(&[LAUNCH, KERNEL]);
    for length in 0..text.len() {
        match read(&text[..length]) {
            Ok(recording) => assert!(!recording.partial.is_empty(), "{length}"),
            Err(error) => assert!(error.offset.is_some(), "{length}: {error}"),
        }
    }
    let cut = read(&text[..text.len() - 10]).unwrap();
    let at = text.find(KERNEL).unwrap();
    assert!(
        cut.partial[0].starts_with(&format!("at byte {at} the file ends")),
        "{:?}",
        cut.partial
    );
}

#[test]
fn packed_files_are_told_by_their_bytes_and_may_be_cut_off() {
    let text = events(&[LAUNCH, KERNEL]);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    assert_eq!(read(&packed).unwrap(), read(&text).unwrap());
    for length in 2..packed.len() - 8 {
        match read(&packed[..length]) {
            Ok(recording) => assert!(!recording.partial.is_empty(), "{length}"),
            Err(error) => assert!(!error.what.is_empty(), "{length}"),
        }
    }
}

#[test]
fn what_is_no_trace_is_refused_with_what_was_found() {
    let refused = |text: &str| read(text).unwrap_err().to_string();
    assert!(refused("").contains("the file is empty"), "{}", refused(""));
    assert!(refused("hello").contains("begins with `hello`"));
    assert!(refused("{}").contains("expected `traceEvents`"));
    assert!(refused("{\"traceEvents\":7}").contains("at byte 15: `traceEvents` is no list"));
    assert!(refused("{\"schema\":\"1.0.1\",\"nodes\":[]}").contains("execution trace"));
    assert!(refused("[{\"a\":1},{\"b\":2}]").contains("no event could be read"));
    assert!(refused("{\"a\":[1,2}").contains("expected `traceEvents`"));
}

#[test]
fn traces_without_a_gpu_say_so() {
    let mtia = KERNEL.replace("\"kernel\"", "\"mtia_ccp_events\"");
    let recording = read(events(&[&mtia, &mtia])).unwrap();
    let told = &recording.partial;
    assert!(told[0].contains("left out 2 events of categories that are no GPU's: mtia_ccp_events"));
    assert!(told[1].contains("no GPU events"));
    assert!(read(events(&[])).unwrap().partial[0].contains("no GPU events"));
}

#[test]
fn deep_nesting_is_no_deep_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let other =
        format!("{{\"deviceProperties\":{deep},\"more\":{deep},\"traceEvents\":[{KERNEL}]}}");
    device_span(&read(other).unwrap());
    let operator = format!(
        r#"{{"ph":"X","cat":"cpu_op","name":"a","ts":1,"dur":1,"args":{{"Input Dims":{deep}}}}}"#
    );
    let recording = read(events(&[&operator, KERNEL])).unwrap();
    device_span(&recording);
    assert!(recording.partial[0].starts_with("left out 1 of 2"), "{:?}", recording.partial);
}
