//! A timeline as Chrome's JSON trace events, which <https://ui.perfetto.dev> opens.
//!
//! One process a rank; threads for its host, its compute stream and each communication stream; a
//! counter of its memory; arrows from a launch to its kernel and from a send to its receive.
//! Categories and arguments are those of the PyTorch profiler, so that tools for its traces read
//! the file. Format: "Trace Event Format", Google, 2016; times are microseconds, written as exact
//! decimals of the clock's picoseconds.
//!
//! Written as it goes: beside the timeline it needs memory for one number a launch only.

mod event;
mod track;

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::timeline::{Arrow, Lane, Process, Span, SpanId, Timeline};
use crate::work::Pass;
use event::{Events, text};
use track::{category, sort_index, thread_id, thread_name};

/// Writes a timeline as one JSON object.
///
/// # Errors
///
/// When the writer fails.
pub fn write(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\"schemaVersion\":1,\"displayTimeUnit\":\"ms\",")?;
    if let [process] = timeline.processes.as_slice() {
        write!(out, "\"distributedInfo\":{{\"rank\":{}}},", process.rank)?;
    }
    out.write_all(b"\"traceEvents\":[")?;
    let mut events = Events::new(out);
    tracks(timeline, &mut events)?;
    let correlations = correlations(timeline);
    for (span, correlation) in timeline.spans.iter().zip(&correlations) {
        slice(timeline, span, *correlation, &mut events)?;
    }
    for (index, arrow) in timeline.arrows.iter().enumerate() {
        flow(timeline, index, arrow, &mut events)?;
    }
    for sample in &timeline.memory {
        let (process, at) = (sample.process, event::Microseconds(sample.at.ps()));
        // Floats that are whole numbers print without a fraction.
        let bytes = sample.allocated.value().round();
        events.next(format_args!(
            r#"{{"ph":"C","name":"allocated memory (bytes)","pid":{process},"ts":{at},"args":{{"bytes":{bytes}}}}}"#
        ))?;
    }
    out.write_all(b"\n]}\n")
}

/// Names and order of processes and threads.
fn tracks(timeline: &Timeline, events: &mut Events<'_>) -> io::Result<()> {
    let used: BTreeSet<(u32, Lane)> =
        timeline.spans.iter().map(|span| (span.process, span.lane)).collect();
    for (pid, process) in timeline.processes.iter().enumerate() {
        let name = text(&process_name(process));
        events.metadata("process_name", pid as u32, 0, format_args!(r#""name":{name}"#))?;
        let labels = format_args!(r#""sort_index":{pid}"#);
        events.metadata("process_sort_index", pid as u32, 0, labels)?;
    }
    for (pid, lane) in used {
        let (tid, name, place) = (thread_id(lane), text(&thread_name(lane)), sort_index(lane));
        events.metadata("thread_name", pid, tid, format_args!(r#""name":{name}"#))?;
        events.metadata("thread_sort_index", pid, tid, format_args!(r#""sort_index":{place}"#))?;
    }
    Ok(())
}

/// For people: `rank 0 (stage 0, stands for 128)`.
fn process_name(process: &Process) -> String {
    let mut remarks = Vec::new();
    if let Some(stage) = process.stage {
        remarks.push(format!("stage {stage}"));
    }
    if process.multiplicity > 1 {
        remarks.push(format!("stands for {}", process.multiplicity));
    }
    match remarks.is_empty() {
        true => format!("rank {}", process.rank),
        false => format!("rank {} ({})", process.rank, remarks.join(", ")),
    }
}

fn is_launch(timeline: &Timeline, arrow: &Arrow) -> bool {
    timeline.spans[arrow.from.0 as usize].lane == Lane::Host
}

/// The number that a launch and what it launched have in common, from 1; 0 for none.
fn correlations(timeline: &Timeline) -> Vec<u32> {
    let mut correlations = vec![0; timeline.spans.len()];
    let launches = timeline.arrows.iter().filter(|arrow| is_launch(timeline, arrow));
    for (arrow, number) in launches.zip(1..) {
        for SpanId(span) in [arrow.from, arrow.to] {
            correlations[span as usize] = number;
        }
    }
    correlations
}

fn slice(
    timeline: &Timeline,
    span: &Span,
    correlation: u32,
    events: &mut Events<'_>,
) -> io::Result<()> {
    let name = text(timeline.labels.name(span.label));
    let (category, pid, tid) =
        (category(span, correlation != 0), span.process, thread_id(span.lane));
    let start = event::Microseconds(span.start.ps());
    let length = event::Microseconds(span.end.ps().saturating_sub(span.start.ps()));
    events.next(format_args!(
        r#"{{"ph":"X","cat":"{category}","name":{name},"pid":{pid},"tid":{tid},"ts":{start},"dur":{length},"args":{{"class":"{}""#,
        span.class.name()
    ))?;
    if correlation != 0 {
        events.more(format_args!(r#","correlation":{correlation}"#))?;
    }
    if span.lane != Lane::Host {
        device_arguments(timeline, span, events)?;
    }
    events.more(format_args!("}}}}"))
}

/// What only kernels, copies and communication have.
fn device_arguments(timeline: &Timeline, span: &Span, events: &mut Events<'_>) -> io::Result<()> {
    let waited = event::Microseconds(span.start.ps().saturating_sub(span.ready.ps()));
    let device = timeline.processes.get(span.process as usize).map_or(0, |process| process.rank);
    let (stream, bytes) = (thread_id(span.lane), span.bytes.value().round());
    events.more(format_args!(
        r#","device":{device},"stream":{stream},"bytes":{bytes},"waited_us":{waited}"#
    ))?;
    if let Some(task) = span.task {
        let pass = match task.pass {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
        };
        events.more(format_args!(
            r#","pass":"{pass}","micro_batch":{},"chunk":{}"#,
            task.micro_batch, task.chunk
        ))?;
    }
    let Some(breakdown) = span.breakdown.and_then(|index| timeline.breakdowns.get(index as usize))
    else {
        return Ok(());
    };
    // A folded span: what it is made of, in the order in which it was found.
    for (class, time) in &breakdown.exclusive {
        events.more(format_args!(r#","{}_us":{:.3}"#, class.name(), time.us()))?;
    }
    Ok(())
}

/// An arrow, from the start of its cause to the start of its effect.
fn flow(
    timeline: &Timeline,
    index: usize,
    arrow: &Arrow,
    events: &mut Events<'_>,
) -> io::Result<()> {
    let [from, to] = [arrow.from, arrow.to].map(|SpanId(id)| &timeline.spans[id as usize]);
    // A slice without length cannot hold the end of an arrow.
    if from.start == from.end || to.start == to.end {
        return Ok(());
    }
    let (category, name) = match from.lane {
        Lane::Host => ("ac2g", "launch"),
        _ => ("transfer", "transfer"),
    };
    for (phase, span, binding) in [("s", from, ""), ("f", to, r#","bp":"e""#)] {
        let (pid, tid) = (span.process, thread_id(span.lane));
        let at = event::Microseconds(span.start.ps());
        events.next(format_args!(
            r#"{{"ph":"{phase}","cat":"{category}","name":"{name}","id":{},"pid":{pid},"tid":{tid},"ts":{at}{binding}}}"#,
            index + 1
        ))?;
    }
    Ok(())
}
