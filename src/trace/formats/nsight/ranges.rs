//! NVTX ranges: annotations, and operators where PyTorch sends them (`emit_nvtx`).

use regex::Regex;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use super::database::Database;
use super::host::thread;
use crate::timeline::FrameKind;
use crate::trace::formats::Options;
use crate::trace::{Builder, HostFrame};

/// `eventType` of ranges that are pushed and popped, on one thread, hence nested.
const PUSH_POP: [i64; 2] = [59, 70];
/// Ranges that are started and ended, maybe on other threads and across others.
const START_END: [i64; 2] = [60, 71];

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
    let wished = ["eventType", "text", "textId", "endGlobalTid"];
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
        if !options.frames {
        } else if PUSH_POP.contains(&kind) {
            nested.entry(global).or_default().push((start_ns, end_ns));
            frame(builder, options, global, (start_ns, end_ns), text);
        } else if row.int(6).is_none_or(|end| end == global) {
            loose.push(Range { global, start_ns, end_ns, text: text.to_owned() });
        }
    });
    faults.extend(read.err());
    for range in nesting(loose, &nested) {
        frame(builder, options, range.global, (range.start_ns, range.end_ns), &range.text);
    }
}

/// Names of ranges that mark a training step: that of the PyTorch profiler, and what people write
/// around their loops.
const STEP: &str =
    r"^(?i:ProfilerStep\s*#|(?:train(?:ing)?[ _]?)?(?:step|iter|iteration)\s*[ _:#=]?\s*)(\d+)$";

/// A range as a frame. PyTorch writes an operator as `aten::mm, seq = 4, op_id = 7, sizes = […]`
/// (`torch/csrc/autograd/profiler_legacy.cpp`, `torch/csrc/profiler/util.cpp`).
fn frame(
    builder: &mut Builder<'_>,
    options: &Options<'_>,
    global: i64,
    (start_ns, end_ns): (i64, i64),
    text: &str,
) {
    let written = [", seq = ", ", op_id = ", ", sizes = "];
    let cut = written.iter().filter_map(|after| text.find(after)).min();
    let name = cut.map_or(text, |at| &text[..at]);
    let is_operator = cut.is_some() || name.starts_with("aten::");
    let kind = if is_operator { FrameKind::Operator } else { FrameKind::Annotation };
    let (pid, thread) = thread(global);
    let number = builder.frame(HostFrame { pid, thread, kind, name, start_ns, end_ns });
    let shapes = text.find(", sizes = ").map(|at| shapes(&text[at + ", sizes = ".len()..]));
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
