//! Trace files, read back and held to what viewers need of them.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use stepcast::report::write_trace;
use stepcast::spec::{DataSources, Override, load};
use stepcast::timeline::{Arrow, Lane, MemorySample, Process, Span, SpanId, Task, Timeline};
use stepcast::units::{Bytes, Instant};
use stepcast::work::{Axis, Class, Pass};
use stepcast::{Detail, simulate};

fn written(timeline: &Timeline) -> (String, Value) {
    let mut bytes = Vec::new();
    write_trace(timeline, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn events<'a>(trace: &'a Value, phase: &str) -> Vec<&'a Value> {
    let all = trace["traceEvents"].as_array().unwrap();
    all.iter().filter(|event| event["ph"] == phase).collect()
}

/// A time of an event in nanoseconds, the finest that viewers keep.
fn nanoseconds(event: &Value, key: &str) -> i64 {
    (event[key].as_f64().unwrap() * 1e3).round() as i64
}

fn track(event: &Value) -> (u64, u64) {
    (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap())
}

/// What keeps viewers from showing a trace as it is meant.
fn faults(trace: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut slices: BTreeMap<(u64, u64), Vec<(i64, i64)>> = BTreeMap::new();
    for slice in events(trace, "X") {
        let start = nanoseconds(slice, "ts");
        slices.entry(track(slice)).or_default().push((start, start + nanoseconds(slice, "dur")));
    }
    for (track, slices) in &mut slices {
        slices.sort_unstable();
        let pairs = slices.windows(2).filter(|pair| pair[1].0 < pair[0].1);
        faults.extend(pairs.map(|pair| format!("slices of {track:?} overlap: {pair:?}")));
    }
    let mut flows: BTreeMap<u64, String> = BTreeMap::new();
    for (phase, event) in ["s", "f"]
        .map(|phase| events(trace, phase))
        .iter()
        .flatten()
        .map(|it| (it["ph"].as_str().unwrap(), *it))
    {
        let id = event["id"].as_u64().unwrap();
        flows.entry(id).or_default().push_str(phase);
        let at = nanoseconds(event, "ts");
        let around = slices.get(&track(event));
        if !around.is_some_and(|it| it.iter().any(|slice| slice.0 <= at && at < slice.1)) {
            faults.push(format!("end {phase} of flow {id} lies in no slice"));
        }
    }
    let broken = flows.iter().filter(|flow| flow.1 != "sf");
    faults.extend(broken.map(|flow| format!("flow {} has the ends {:?}", flow.0, flow.1)));
    let mut counters: BTreeMap<(u64, &str), i64> = BTreeMap::new();
    for sample in events(trace, "C") {
        let key = (sample["pid"].as_u64().unwrap(), sample["name"].as_str().unwrap());
        let at = nanoseconds(sample, "ts");
        if counters.insert(key, at).is_some_and(|before| before > at) {
            faults.push(format!("counter {key:?} goes back in time"));
        }
    }
    let named: BTreeSet<(u64, u64)> = events(trace, "M")
        .into_iter()
        .filter(|event| event["name"] == "thread_name")
        .map(track)
        .collect();
    faults.extend(
        slices
            .keys()
            .filter(|key| !named.contains(key))
            .map(|key| format!("thread {key:?} has no name")),
    );
    faults
}

/// Two ranks: the first computes and sends, the second receives.
fn small() -> Timeline {
    let mut timeline = Timeline {
        processes: vec![
            Process { rank: 0, stage: Some(0), multiplicity: 128 },
            Process { rank: 128, stage: Some(1), multiplicity: 1 },
        ],
        ..Timeline::default()
    };
    let at = Instant::from_ps;
    let task = Task { pass: Pass::Backward, micro_batch: 3, chunk: 1 };
    let pp = Class::Communication(Axis::Pp);
    let rows = [
        (0, Lane::Host, "a \"quoted\"\nname", Class::Host, 0, 1_000_000),
        (0, Lane::Compute, "a \"quoted\"\nname", Class::Gemm, 3_000_400, 4_000_600),
        (0, Lane::Communication(Axis::Pp, 0), "activations", pp, 4_500_000, 7_000_000),
        (1, Lane::Communication(Axis::Pp, 2), "activations", pp, 4_500_000, 7_000_000),
        (0, Lane::Compute, "norm", Class::Norm, 4_000_600, 4_000_700),
    ];
    for (process, lane, label, class, start, end) in rows {
        let label = timeline.labels.intern(label);
        timeline.spans.push(Span {
            process,
            lane,
            start: at(start),
            end: at(end),
            ready: at(start.saturating_sub(2_000_000)),
            launched: at(0),
            label,
            class,
            task: (lane != Lane::Host).then_some(task),
            bytes: Bytes::new(4096.0),
            call: None,
            breakdown: None,
        });
    }
    let arrow = |from, to| Arrow { from: SpanId(from), to: SpanId(to) };
    timeline.arrows = vec![arrow(0, 1), arrow(2, 3)];
    timeline.memory = [(0, 10.0), (5_000_000, 30.0)]
        .map(|(ps, bytes)| MemorySample { process: 0, at: at(ps), allocated: Bytes::new(bytes) })
        .to_vec();
    timeline
}

#[test]
fn a_small_timeline_is_written_as_viewers_read_it() {
    let (text, trace) = written(&small());
    assert_eq!(faults(&trace), [""; 0]);
    let names: Vec<&str> =
        events(&trace, "M").iter().filter_map(|event| event["args"]["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "rank 0 (stage 0, stands for 128)",
            "rank 128 (stage 1)",
            "host",
            "compute",
            "pp: send forward",
            "pp: receive forward"
        ]
    );
    let slices = events(&trace, "X");
    let (host, kernel) = (slices[0], slices[1]);
    assert_eq!((&host["cat"], &kernel["cat"]), (&"cuda_runtime".into(), &"kernel".into()));
    assert_eq!(kernel["name"], "a \"quoted\"\nname");
    let arguments = &kernel["args"];
    assert_eq!(arguments["correlation"], host["args"]["correlation"]);
    assert_eq!(arguments["pass"], "backward");
    assert_eq!(arguments["micro_batch"], 3);
    assert_eq!(arguments["chunk"], 1);
    assert_eq!(arguments["bytes"], 4096);
    assert_eq!(arguments["waited_us"], 2.0);
    // 3,000,400 ps to 4,000,600 ps: the borders are rounded, 3.000 us to 4.001 us.
    assert!(text.contains("\"ts\":3.000,\"dur\":1.001"), "{text}");
    let order = |kind: &str| {
        let of_kind = events(&trace, "M").into_iter().filter(|event| event["name"] == kind);
        of_kind.map(|event| event["args"]["sort_index"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(order("process_sort_index"), [0, 1]);
    let threads = order("thread_sort_index");
    assert!(threads[0] < threads[1] && threads[1] < threads[2], "the host comes first");
    assert_eq!(events(&trace, "C")[1]["args"]["allocated_bytes"], 30);
    assert_eq!(events(&trace, "s").len(), 2);
    assert!(events(&trace, "f").iter().all(|event| event["bp"] == "e"));
}

#[test]
fn only_a_trace_of_one_rank_says_whose_it_is() {
    let mut timeline = small();
    assert!(written(&timeline).1.get("distributedInfo").is_none());
    timeline.processes.pop();
    timeline.spans.retain(|span| span.process == 0);
    timeline.arrows.clear();
    assert_eq!(written(&timeline).1["distributedInfo"]["rank"], 0);
}

#[test]
fn an_empty_timeline_is_an_empty_trace() {
    let (_, trace) = written(&Timeline::default());
    assert_eq!(trace["traceEvents"], Value::Array(Vec::new()));
}

#[test]
fn an_arrow_with_an_end_too_short_to_see_is_left_out_whole() {
    let mut timeline = small();
    // 100 ps of norm are nothing in a viewer's nanoseconds.
    timeline.arrows.push(Arrow { from: SpanId(0), to: SpanId(4) });
    let (_, trace) = written(&timeline);
    assert_eq!(faults(&trace), [""; 0]);
    assert_eq!((events(&trace, "s").len(), events(&trace, "f").len()), (2, 2));
}

#[test]
fn the_check_of_trace_files_finds_faults() {
    let mut timeline = small();
    timeline.spans[4].start = Instant::from_ps(3_500_000);
    timeline.memory.reverse();
    let (_, mut trace) = written(&timeline);
    trace["traceEvents"].as_array_mut().unwrap().retain(|event| {
        !(event["ph"] == "f" && event["cat"] == "send_recv") && event["args"]["name"] != "host"
    });
    let found = faults(&trace).join("; ");
    for fault in ["overlap", "has the ends \"s\"", "goes back in time", "has no name"] {
        assert!(found.contains(fault), "{fault} is not in {found}");
    }
}

#[test]
fn a_simulated_step_with_a_pipeline_is_a_sound_trace() {
    let overrides: Vec<Override> =
        SMALL_PLAN.iter().map(|change| Override::parse(change).unwrap()).collect();
    let scenario =
        load(&DataSources::shipped(), Path::new("llama3-70b-64xh100"), &overrides).unwrap();
    let timeline = simulate(&scenario, Detail::Kernels).unwrap().timeline;
    let (_, trace) = written(&timeline);
    assert_eq!(faults(&trace), [""; 0]);
    let is_launched = |span: &&Span| span.lane != Lane::Host;
    let launched = timeline.spans.iter().filter(is_launched).count();
    let starts = events(&trace, "s");
    let launches = starts.iter().filter(|event| event["cat"] == "ac2g").count();
    assert!(launches > 0 && launches <= launched);
    assert!(starts.iter().any(|event| event["cat"] == "send_recv"));
    for arrow in &timeline.arrows {
        let [from, to] = [arrow.from, arrow.to].map(|id| &timeline.spans[id.0 as usize]);
        if from.lane == Lane::Host {
            assert_eq!((from.process, from.label), (to.process, to.label));
            assert!(from.start <= to.launched && to.launched <= to.start, "a launch comes first");
        } else {
            assert_ne!(from.process, to.process);
            assert!(matches!(from.lane, Lane::Communication(Axis::Pp, 0 | 1)), "{from:?}");
            assert!(matches!(to.lane, Lane::Communication(Axis::Pp, 2 | 3)), "{to:?}");
            assert_eq!((from.start, from.end), (to.start, to.end));
        }
    }
    let arrows_to: BTreeSet<SpanId> = timeline
        .arrows
        .iter()
        .filter(|arrow| timeline.spans[arrow.from.0 as usize].lane == Lane::Host)
        .map(|arrow| arrow.to)
        .collect();
    assert_eq!(arrows_to.len(), launched, "each kernel has its launch");
}

/// A step of few kernels: 4 stages of 2 chunks of a layer, 8 micro-batches. The launch queue is
/// short, so that hosts go on, and write spans, in the middle of what else happens at an instant.
const SMALL_PLAN: [&str; 4] = [
    "model.layer_count=8",
    "plan.virtual_stages=2",
    "training.global_batch=16",
    "stack.launch_queue_depth=4",
];
