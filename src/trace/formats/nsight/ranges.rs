//! NVTX ranges: annotations, and operators where PyTorch sends them (`emit_nvtx`).

use regex::Regex;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use super::database::{Database, Row};
use super::host::thread;
use super::nccl::Calls;
use super::payload::{Payload, Schemas};
use crate::timeline::FrameKind;
use crate::trace::formats::{Options, frames};
use crate::trace::{Announcement, Builder, HostFrame};

/// `eventType` of ranges that are pushed and popped, on one thread, hence nested.
const PUSH_POP: [i64; 2] = [59, 70];
/// Ranges that are started and ended, maybe on other threads and across others.
const START_END: [i64; 2] = [60, 71];

/// Columns of what ranges carry.
const PAYLOADS: [&str; 3] = ["binaryData", "jsonText", "jsonTextId"];

/// A range with its text.
struct Range {
    global: i64,
    start_ns: i64,
    end_ns: i64,
    text: String,
}

/// Reads ranges as frames, and those that mark steps as steps.
pub(super) fn read(
    database: &Database,
    options: &Options<'_>,
    builder: &mut Builder<'_>,
    faults: &mut Vec<String>,
) {
    let marks = Regex::new(STEP).expect("a pattern of ours");
    let mut loose: Vec<Range> = Vec::new();
    let mut nested: FxHashMap<i64, Vec<(i64, i64)>> = FxHashMap::default();
    let needed = ["start", "end", "globalTid"];
    let wished: Vec<&str> =
        ["eventType", "text", "textId", "endGlobalTid"].into_iter().chain(PAYLOADS).collect();
    let schemas = Schemas::read(database, faults);
    let mut calls = Calls::default();
    let read = database.rows("NVTX_EVENTS", &needed, &wished, |row| {
        let (Some(start_ns), Some(end_ns), Some(global)) = (row.int(0), row.int(1), row.int(2))
        else {
            return;
        };
        let kind = row.int(3).unwrap_or(PUSH_POP[0]);
        let registered = row.int(5).and_then(|id| database.string(id));
        let Some(text) = row.text(4).or(registered.as_deref()) else { return };
        if !PUSH_POP.contains(&kind) && !START_END.contains(&kind) {
            return;
        }
        if let Some(number) = marks.captures(text).and_then(|found| found[1].parse().ok()) {
            builder.step(thread(global).0, number, start_ns, end_ns);
        }
        if PUSH_POP.contains(&kind) {
            let payload = || payload(row, database, &schemas);
            calls.take(text, global, (start_ns, end_ns), payload);
            announce(builder, global, (start_ns, end_ns), text);
        }
        if !options.frames {
        } else if PUSH_POP.contains(&kind) {
            nested.entry(global).or_default().push((start_ns, end_ns));
            frame(builder, options, global, (start_ns, end_ns), text);
        } else if row.int(6).is_none_or(|end| end == global) {
            loose.push(Range { global, start_ns, end_ns, text: text.to_owned() });
        }
    });
    faults.extend(read.err());
    calls.announce(builder);
    for range in nesting(loose, &nested) {
        frame(builder, options, range.global, (range.start_ns, range.end_ns), &range.text);
    }
}

/// Names of ranges that mark a training step: that of the PyTorch profiler, and what people write
/// around their loops.
const STEP: &str =
    r"^(?i:ProfilerStep\s*#|(?:train(?:ing)?[ _]?)?(?:step|iter|iteration)\s*[ _:#=]?\s*)(\d+)$";

/// What a range carries, as JSON or as bytes.
fn payload(row: &Row<'_, '_>, database: &Database, schemas: &Schemas) -> Payload {
    let registered = row.int(9).and_then(|id| database.string(id));
    match (row.text(8).or(registered.as_deref()), row.bytes(7)) {
        (Some(json), _) => Payload::of_json(json),
        (None, Some(bytes)) => schemas.payload(bytes),
        (None, None) => Payload::default(),
    }
}

/// Tells what a range of a process group of PyTorch sends. It names its tensors' sizes and not
/// their format.
fn announce(builder: &mut Builder<'_>, global: i64, (start_ns, end_ns): (i64, i64), text: &str) {
    // Few do: what stands behind the name is looked for only where its beginning is right.
    if !text.starts_with(frames::PARAM_COMMS) && !frames::announces(text) {
        return;
    }
    let name = name_of(text);
    let mut arguments = frames::by_name(name);
    let shapes = text.find(SIZES).map(|at| shapes(&text[at + SIZES.len()..]));
    if let Some(shapes) = shapes.filter(|_| frames::by_backend(name).is_some()) {
        // All that a backend's annotation has are tensors; what has no sizes was not recorded.
        let product = |shape: &Vec<u64>| {
            let mut lengths = shape.iter();
            let all = lengths.try_fold(1_u64, |product, &length| product.checked_mul(length));
            all.filter(|_| !shape.is_empty())
        };
        let sum = shapes.iter().map(product).try_fold(0_u64, |sum, it| sum.checked_add(it?));
        arguments.elements_in = sum.filter(|_| !shapes.is_empty());
    }
    let (pid, thread) = thread(global);
    let number = None;
    builder.announcement(Announcement {
        pid,
        thread,
        start_ns,
        end_ns,
        number,
        arguments,
        count: 1,
    });
}

/// What stands in front of the sizes of an operator's arguments.
const SIZES: &str = ", sizes = ";

/// The name in front of what PyTorch writes behind it.
fn name_of(text: &str) -> &str {
    let written = [", seq = ", ", op_id = ", SIZES];
    let cut = written.iter().filter_map(|after| text.find(after)).min();
    cut.map_or(text, |at| &text[..at])
}

/// A range as a frame. PyTorch writes an operator as `aten::mm, seq = 4, op_id = 7, sizes = […]`
/// (`torch/csrc/autograd/profiler_legacy.cpp`, `torch/csrc/profiler/util.cpp`).
fn frame(
    builder: &mut Builder<'_>,
    options: &Options<'_>,
    global: i64,
    (start_ns, end_ns): (i64, i64),
    text: &str,
) {
    let name = name_of(text);
    let is_operator = name.len() < text.len() || name.starts_with("aten::");
    let kind = if is_operator { FrameKind::Operator } else { FrameKind::Annotation };
    let (pid, thread) = thread(global);
    let number = builder.frame(HostFrame { pid, thread, kind, name, start_ns, end_ns });
    let shapes = text.find(SIZES).map(|at| shapes(&text[at + SIZES.len()..]));
    if let Some(shapes) = shapes.filter(|_| options.shapes) {
        builder.operator(number, shapes, Vec::new());
    }
}

/// Shapes at the start of a text, `[[4, 8], [], [8]]`; what is no list of sizes is empty.
fn shapes(text: &str) -> Vec<Vec<u64>> {
    let mut depth = 0_i32;
    let end = text.char_indices().find_map(|(at, letter)| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        (depth == 0).then_some(at + 1)
    });
    let list = end.and_then(|end| serde_json::from_str(&text[..end]).ok());
    let Some(serde_json::Value::Array(arguments)) = list else { return Vec::new() };
    let shape = |argument: &serde_json::Value| -> Vec<u64> {
        let sizes = argument.as_array().map(|sizes| sizes.iter().map(|size| size.as_u64()));
        sizes.and_then(Iterator::collect).unwrap_or_default()
    };
    arguments.iter().map(shape).collect()
}

/// Those started and ended ranges that nest with the other ranges of their thread. Two ranges
/// that cross have no inner and outer one, so the started one is no frame.
fn nesting(loose: Vec<Range>, nested: &FxHashMap<i64, Vec<(i64, i64)>>) -> Vec<Range> {
    let mut threads: BTreeMap<i64, Vec<(i64, i64, Option<usize>)>> = BTreeMap::new();
    for (index, range) in loose.iter().enumerate() {
        let ranges = threads.entry(range.global).or_insert_with(|| {
            let known = nested.get(&range.global).into_iter().flatten();
            known.map(|&(start, end)| (start, end, None)).collect()
        });
        ranges.push((range.start_ns, range.end_ns, Some(index)));
    }
    let mut nests = vec![true; loose.len()];
    for ranges in threads.values_mut() {
        ranges.sort_unstable_by_key(|&(start, end, index)| (start, std::cmp::Reverse(end), index));
        let mut open: Vec<(i64, Option<usize>)> = Vec::new();
        for &(start, end, index) in &*ranges {
            while let Some(&(until, around)) = open.last() {
                match (around, index) {
                    _ if until <= start => {}
                    _ if until >= end => break,
                    (_, Some(index)) => {
                        nests[index] = false;
                        break;
                    }
                    (Some(around), None) => nests[around] = false,
                    (None, None) => break,
                }
                open.pop();
            }
            if index.is_none_or(|index| nests[index]) {
                open.push((end, index));
            }
        }
    }
    loose.into_iter().zip(nests).filter_map(|(range, nests)| nests.then_some(range)).collect()
}
