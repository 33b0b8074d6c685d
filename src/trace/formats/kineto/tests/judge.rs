//! A slow obvious reader, and whether the fast one reads the same.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::trace::{Builder, DeviceEvent, DeviceKind, HostCall, HostFrame};

/// The whole file as one value, events of a few categories, times as texts of whole nanoseconds.
fn slowly(text: &str, options: &Options<'_>) -> Recording {
    let file: Value = serde_json::from_str(text).expect("the test writes JSON");
    let mut builder = Builder::new("a.json", options.classes);
    let mut gpu_event_count = 0;
    for event in file["traceEvents"].as_array().expect("the test writes a list") {
        let name = event["name"].as_str().expect("the test names all");
        let (pid, thread) = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let ns = |key: &str| (event[key].as_str().unwrap().parse::<f64>().unwrap() * 1e3) as i64;
        let category = event["cat"].as_str().unwrap().to_lowercase();
        if event["ph"] != "X" || category == "ac2g" {
            continue;
        }
        let (start_ns, end_ns) = (ns("ts"), ns("ts") + ns("dur"));
        let correlation = event["args"]["correlation"].as_u64();
        match category.as_str() {
            "cuda_runtime" => {
                let context = 0;
                builder.host_call(HostCall {
                    pid,
                    thread,
                    name,
                    start_ns,
                    end_ns,
                    correlation,
                    context,
                });
            }
            "cpu_op" => {
                if name == "ProfilerStep#3" {
                    builder.step(pid, 3, start_ns, end_ns);
                }
                if options.frames {
                    let kind = FrameKind::Operator;
                    builder.frame(HostFrame { pid, thread, kind, name, start_ns, end_ns });
                }
            }
            _ => {
                gpu_event_count += 1;
                builder.device_event(DeviceEvent {
                    kind: if category == "kernel" { DeviceKind::Kernel } else { DeviceKind::Copy },
                    device: event["args"]["device"].as_u64().unwrap_or(pid),
                    stream: event["args"]["stream"].as_i64().unwrap_or(thread as i64),
                    name,
                    start_ns,
                    end_ns,
                    correlation,
                    context: 0,
                    bytes: event["args"]["bytes"].as_u64(),
                    collective: None,
                });
            }
        }
    }
    let mut recording = builder.finish();
    if gpu_event_count == 0 {
        recording.partial.push("no GPU events".to_owned());
    }
    recording
}

/// An event, as its keys and values in the order in which they are to be written.
fn event() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let category = prop::sample::select(vec![
        "kernel",
        "Kernel",
        "gpu_memcpy",
        "cuda_runtime",
        "cpu_op",
        "ac2g",
    ]);
    let phase = prop::sample::select(vec!["X", "X", "X", "s", "f", "C"]);
    let name =
        prop::sample::select(vec!["a", "ProfilerStep#3", "x\"y\\z}{", "cudaLaunchKernel", "é→"]);
    // Multiples of 125 ns are exact in binary microseconds.
    let time = (0_u64..1_000_000).prop_map(|eighths| json!(format!("{}", eighths as f64 / 8.0)));
    let length = (0_u64..1_000).prop_map(|eighths| json!(format!("{}", eighths as f64 / 8.0)));
    let number = prop::option::of(0_u64..4);
    let arguments = (number.clone(), number.clone(), number.clone(), number).prop_map(
        |(correlation, stream, device, bytes)| {
            let pairs = [
                ("correlation", correlation),
                ("stream", stream),
                ("device", device),
                ("bytes", bytes),
            ];
            let known =
                pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?))));
            let mut arguments: Map<String, Value> = known.collect();
            arguments.insert("grid".to_owned(), json!([1, {"a": [2]}, "]"]));
            Value::Object(arguments)
        },
    );
    (category, phase, name, 0_u64..3, 0_u64..3, time, length, arguments)
        .prop_map(|(category, phase, name, pid, tid, start, length, arguments)| {
            vec![
                ("ph", json!(phase)),
                ("cat", json!(category)),
                ("name", json!(name)),
                ("pid", json!(pid)),
                ("tid", json!(tid)),
                ("ts", start),
                ("dur", length),
                ("args", arguments),
                ("bp", json!({"e": [null, true]})),
            ]
        })
        .prop_shuffle()
}

fn written(events: &[Vec<(&'static str, Value)>], blank: &str) -> String {
    let event = |pairs: &Vec<(&str, Value)>| {
        let pairs = pairs.iter().map(|(key, value)| format!("\"{key}\"{blank}:{value}"));
        format!("{{{blank}{}}}{blank}", pairs.collect::<Vec<_>>().join(&format!("{blank},")))
    };
    let events: Vec<String> = events.iter().map(event).collect();
    format!("{{\"a\":{blank}[1],\"traceEvents\":{blank}[{}],\"z\":0}}", events.join(","))
}

proptest! {
    #[test]
    fn events_in_any_order_and_any_pieces_read_as_a_slow_reader_reads_them(
        list in prop::collection::vec(event(), 0..12),
        blank in prop::sample::select(vec!["", " ", "\n\t ", "   \r\n"]),
        frames in any::<bool>(),
        sip in 1_usize..40,
        window_bytes in 1_usize..300,
    ) {
        let classes = Classes::shipped();
        let options = Options { classes: &classes, frames, shapes: false };
        let text = written(&list, blank);
        let mut bytes = Sips(text.as_bytes(), sip);
        let input = Input { name: "a.json", bytes: &mut bytes, path: None };
        let mut fast = read_through(input, &options, window_bytes).unwrap();
        let mut slow = slowly(&text, &options);
        for told in fast.partial.iter_mut().chain(&mut slow.partial) {
            told.truncate("no GPU events".len());
        }
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn damage_is_no_panic_and_whole_events_around_it_survive(
        at in 0_usize..400, with in any::<u8>(), sip in 1_usize..40,
    ) {
        let mut text = events(&[LAUNCH, KERNEL, LAUNCH, KERNEL]).into_bytes();
        let length = text.len();
        text[at % length] = with;
        let classes = Classes::shipped();
        let options = Options { classes: &classes, frames: true, shapes: true };
        let mut bytes = Sips(&text, sip);
        let input = Input { name: "a.json", bytes: &mut bytes, path: None };
        if let Ok(recording) = read_through(input, &options, 64) {
            prop_assert!(recording.timeline.spans.len() <= 4);
        }
    }
}
