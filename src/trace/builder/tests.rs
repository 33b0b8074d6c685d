//! What a builder makes of events in any order.

use super::*;
use crate::timeline::{Lane, SpanId};
use crate::units::Instant;

fn kernel(
    name: &str,
    stream: i64,
    start_ns: i64,
    end_ns: i64,
    correlation: u64,
) -> DeviceEvent<'_> {
    DeviceEvent {
        kind: DeviceKind::Kernel,
        device: 3,
        stream,
        name,
        start_ns,
        end_ns,
        correlation: Some(correlation),
        context: 0,
        bytes: None,
        collective: None,
    }
}

fn launch(name: &str, start_ns: i64, correlation: u64) -> HostCall<'_> {
    let end_ns = start_ns + 5;
    let correlation = Some(correlation);
    HostCall { pid: 1, thread: 2, name, start_ns, end_ns, correlation, context: 0 }
}

#[test]
fn launches_find_their_kernels_and_the_clock_starts_with_the_first_event() {
    let classes = Classes::shipped();
    let mut builder = Builder::new("a.json", &classes);
    builder.device_event(kernel("volta_sgemm", 20, 1_030, 1_050, 8));
    builder.device_event(kernel("ncclDevKernel_Generic", 7, 1_020, 1_060, 9));
    builder.device_event(kernel("orphan", 7, 1_070, 1_071, 99));
    builder.host_call(launch("cudaLaunchKernel", 1_010, 8));
    builder.host_call(launch("cudaLaunchKernel", 1_000, 9));
    builder.rank(Some(5), Some(8));
    let recording = builder.finish();
    assert_eq!(recording.origin_ns, 1_000);
    assert_eq!(recording.timeline.processes[0].rank, 5);
    assert_eq!(recording.sources[0].events_without_launch, 1);
    let names: Vec<&str> = (0..5).map(|span| recording.name(SpanId(span))).collect();
    let expected =
        ["cudaLaunchKernel", "cudaLaunchKernel", "ncclDevKernel_Generic", "volta_sgemm", "orphan"];
    assert_eq!(names, expected);
    assert_eq!(recording.launched_by[2], Some(SpanId(0)));
    assert_eq!(recording.launched_by[3], Some(SpanId(1)));
    assert_eq!(recording.launched_by[4], None);
    let gemm = &recording.timeline.spans[3];
    assert_eq!((gemm.start, gemm.end), (Instant::from_ps(30_000), Instant::from_ps(50_000)));
    assert_eq!(gemm.lane, Lane::Stream(1));
    assert_eq!(recording.communications.len(), 1);
}

#[test]
fn a_synchronisation_names_the_stream_and_the_record_it_waits_for() {
    let classes = Classes::shipped();
    let mut builder = Builder::new("a.json", &classes);
    builder.host_call(launch("cudaEventRecord", 10, 1));
    builder.host_call(launch("cudaStreamWaitEvent", 20, 2));
    builder.host_call(launch("cudaStreamWaitEvent", 30, 3));
    builder.device_event(kernel("a", 7, 40, 50, 4));
    builder.device_event(kernel("b", 8, 60, 70, 5));
    builder.synchronization(Synchronization {
        stream_waits: true,
        device: 3,
        stream: Some(8),
        event_stream: Some(7),
        record: Some(1),
        start_ns: 20,
        correlation: Some(2),
        context: 0,
    });
    let waits = builder.finish().waits;
    assert_eq!(waits.len(), 2);
    assert_eq!(waits[0].stream, Some(1));
    let target = waits[0].target.unwrap();
    assert_eq!((target.stream, target.record), (Some(0), Some(SpanId(0))));
    assert_eq!(waits[1].target, None);
}

#[test]
fn events_too_far_apart_for_the_clock_do_not_overflow() {
    let classes = Classes::shipped();
    let mut builder = Builder::new("a.json", &classes);
    builder.device_event(kernel("a", 0, i64::MIN, i64::MIN + 1, 1));
    builder.device_event(kernel("b", 0, i64::MAX - 1, i64::MAX, 2));
    assert_eq!(builder.finish().timeline.end(), Instant::NEVER);
}

#[test]
fn nothing_collected_is_one_process_without_spans() {
    let classes = Classes::shipped();
    let recording = Builder::new("a.json", &classes).finish();
    assert_eq!(recording.sources.len(), 1);
    assert!(recording.timeline.spans.is_empty());
}
