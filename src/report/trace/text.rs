//! The summary of traces for people: ranks, what stands out, kernels.

use std::io::{self, Write};

use super::name::{distinct, short};
use super::{Measured, title};
use crate::analysis::{Cause, CollectiveProfile, RankProfile};
use crate::report::Style;
use crate::report::table::{bar, grouped, percent, table};
use crate::report::text::heading;
use crate::trace::Source;
use crate::units::{Bytes, Picoseconds};

/// Steps and collectives listed at most.
const ROWS: usize = 12;
/// Ranks whose kernels are listed at most.
const DETAILED: usize = 2;

/// Writes tables of ranks, steps, collectives and `top` kernels, and what stands out.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(
    measured: &[Measured<'_>],
    top: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ranks: Vec<(&Source, &RankProfile)> = measured.iter().flat_map(Measured::ranks).collect();
    let mut sections = vec![overview(&ranks, style)];
    for &(source, profile) in ranks.iter().take(DETAILED) {
        sections.push(one(source, profile, top, style));
    }
    if ranks.len() > DETAILED {
        let more = ranks.len() - DETAILED;
        sections.push(format!("{more} more: --format json has them in full\n"));
    }
    let collectives: Vec<&CollectiveProfile> =
        measured.iter().flat_map(|one| &one.profile.collectives).collect();
    sections.push(meetings(&ranks, &collectives, style));
    for one in measured {
        let files = one.recording.sources.first().map_or("", |source| &source.file);
        let partial = one.recording.partial.iter();
        sections.push(partial.map(|what| format!("partial: {files}: {what}\n")).collect());
    }
    sections.retain(|section| !section.is_empty());
    out.write_all(sections.join("\n").as_bytes())
}

fn time(length: Picoseconds) -> String {
    length.seconds().to_string()
}

/// A bar flush left in a column that is flush right.
fn padded(fraction: f64, width: usize) -> String {
    format!("{:width$}", bar(fraction, width))
}

/// A row a rank: shares of its window.
fn overview(ranks: &[(&Source, &RankProfile)], style: Style) -> String {
    let header = [
        "",
        "window",
        "idle",
        "compute",
        "comm",
        "exposed",
        "memory",
        "GPU events",
        "busy        ",
    ];
    let row = |(source, profile): &(&Source, &RankProfile)| {
        let occupancy = &profile.occupancy;
        let share = |part: Picoseconds| percent(part.share_of(occupancy.window));
        vec![
            title(source),
            time(occupancy.window),
            share(occupancy.idle),
            share(occupancy.compute),
            share(occupancy.communication),
            share(occupancy.exposed_communication),
            share(occupancy.memory),
            grouped(profile.gpu_events as f64),
            padded(occupancy.busy.share_of(occupancy.window), 12),
        ]
    };
    let rows: Vec<Vec<String>> = ranks.iter().map(row).collect();
    let mut files: Vec<&str> = ranks.iter().map(|(source, _)| source.file.as_str()).collect();
    files.dedup();
    let what = match files.as_slice() {
        [file] => (*file).to_owned(),
        files => format!("{} files", files.len()),
    };
    let device = ranks.iter().find_map(|(source, _)| source.device_name.clone());
    let on = device.map_or(String::new(), |device| format!(", {device}"));
    format!("{}{}", heading(&format!("{what}{on}"), style), table(&header, &rows, 2))
}

fn one(source: &Source, profile: &RankProfile, top: usize, style: Style) -> String {
    let mut text = String::new();
    let notes = notes(source, profile);
    if !notes.is_empty() {
        text += &heading(&format!("What stands out on {}", title(source)), style);
        text += &notes.iter().map(|note| format!("  {note}\n")).collect::<String>();
        text.push('\n');
    }
    text += &steps(profile, style);
    text += &operations(source, profile, style);
    text += &kernels(source, profile, top, style);
    text
}

/// Sentences on what takes a noticeable share of the window.
fn notes(source: &Source, profile: &RankProfile) -> Vec<String> {
    let window = profile.occupancy.window;
    let share = |part: Picoseconds| percent(part.share_of(window));
    let is_much = |part: Picoseconds| part.share_of(window) >= 0.01;
    let mut notes = Vec::new();
    for cause in Cause::ALL {
        let part = profile.idle_causes.time(cause);
        if is_much(part) {
            notes.push(format!("idle, {}: {} ({})", cause.name(), time(part), share(part)));
        }
    }
    let exposed = profile.occupancy.exposed_communication;
    if is_much(exposed) {
        let all = profile.occupancy.communication;
        let of = percent(exposed.share_of(all));
        let (exposed, part) = (time(exposed), share(exposed));
        notes.push(format!("communication beside no compute: {exposed} ({part}), {of} of it"));
    }
    for call in profile.host.synchronization.iter().chain([&profile.host.blocking_copies]).take(4) {
        if is_much(call.total) {
            let (name, times, total) = (&call.call, call.count, time(call.total));
            notes.push(format!("host in {name}: {times} times, {total}"));
        }
    }
    let allocation = &profile.allocation;
    if is_much(allocation.total) {
        let (count, total) = (allocation.count, time(allocation.total));
        notes.push(format!("host in calls for memory: {count} times, {total}"));
    }
    let queue = &profile.queue;
    if queue.held_up_launches > 0 {
        let (count, total) = (queue.held_up_launches, time(queue.held_up));
        notes.push(format!("launches held up by a full queue: {count}, {total}"));
    }
    let orphans = source.events_without_launch;
    if orphans > 0 {
        let (orphans, all) = (grouped(orphans as f64), grouped(profile.gpu_events as f64));
        notes.push(format!("{orphans} of {all} GPU events have no launch in the file"));
    }
    notes
}

fn steps(profile: &RankProfile, style: Style) -> String {
    if profile.steps.is_empty() {
        return String::new();
    }
    let header = ["step", "host", "period", "idle", "compute", "comm", "exposed", "memory"];
    let row = |step: &crate::analysis::StepProfile| {
        let occupancy = &step.occupancy;
        let share = |part: Picoseconds| percent(part.share_of(occupancy.window));
        vec![
            step.step.to_string(),
            time(step.host),
            time(step.period),
            share(occupancy.idle),
            share(occupancy.compute),
            share(occupancy.communication),
            share(occupancy.exposed_communication),
            share(occupancy.memory),
        ]
    };
    let rows: Vec<Vec<String>> = profile.steps.iter().take(ROWS).map(row).collect();
    format!("{}{}\n", heading("Steps", style), table(&header, &rows, 2))
}

/// Communication by operation, with the bytes of those that say them.
fn operations(source: &Source, profile: &RankProfile, style: Style) -> String {
    if profile.operations.is_empty() {
        return String::new();
    }
    let header = ["", "total", "count", "bytes", "with a size"];
    let row = |operation: &crate::analysis::OperationTime| {
        let is_sized = operation.sized_count > 0;
        let bytes = Bytes::new(operation.bytes as f64);
        vec![
            operation.operation.replace('_', " "),
            time(operation.total),
            grouped(operation.count as f64),
            if is_sized { bytes.to_string() } else { "-".to_owned() },
            grouped(operation.sized_count as f64),
        ]
    };
    let rows: Vec<Vec<String>> = profile.operations.iter().map(row).collect();
    let title = heading(&format!("Communication of {} by operation", title(source)), style);
    format!("{title}{}\n", table(&header, &rows, 2))
}

fn kernels(source: &Source, profile: &RankProfile, top: usize, style: Style) -> String {
    if profile.kinds.is_empty() {
        return String::new();
    }
    let header = ["", "total", "share", "count", "mean", ""];
    let row = |name: String, kind: &crate::analysis::KindTime| {
        vec![
            name,
            time(kind.total),
            percent(kind.fraction),
            grouped(kind.count as f64),
            time(kind.mean),
            padded(kind.fraction, 20),
        ]
    };
    let kinds: Vec<Vec<String>> =
        profile.kinds.iter().map(|kind| row(kind.kind.replace('_', " "), kind)).collect();
    let first = heading(&format!("Device work of {} by kind", title(source)), style);
    let mut text = format!("{first}{}", table(&header, &kinds, 2));
    let columns = style.width.saturating_sub(50).max(24);
    let listed = &profile.kernels[..top.min(profile.kernels.len())];
    let full: Vec<&str> = listed.iter().map(|kernel| kernel.name.as_str()).collect();
    let named = distinct(&full, columns).into_iter().zip(listed);
    let names: Vec<Vec<String>> = named.map(|(name, kernel)| row(name, &kernel.time)).collect();
    if !names.is_empty() {
        text += &format!("\n{}{}", heading("By name", style), table(&header, &names, 2));
    }
    text
}

/// Who waited for whom, and the collectives with most waiting.
fn meetings(
    ranks: &[(&Source, &RankProfile)],
    collectives: &[&CollectiveProfile],
    style: Style,
) -> String {
    if collectives.is_empty() {
        return String::new();
    }
    let header = ["", "collectives", "waiting", "transfer", "last", "others waited for it"];
    let row = |(source, profile): &(&Source, &RankProfile)| {
        let sum = &profile.communication;
        vec![
            title(source),
            sum.collectives.to_string(),
            time(sum.waiting),
            time(sum.transfer),
            sum.last_arrivals.to_string(),
            time(sum.caused_waiting),
        ]
    };
    let rows: Vec<Vec<String>> = ranks.iter().map(row).collect();
    let first = heading("Collectives by rank", style);
    let mut text = format!("{first}{}", table(&header, &rows, 2));
    let mut worst: Vec<&CollectiveProfile> = collectives.to_vec();
    worst.sort_by_key(|one| std::cmp::Reverse(one.skew));
    let row = |one: &&CollectiveProfile| {
        let rate = |bandwidth: Option<f64>| {
            bandwidth.map_or("-".to_owned(), |bandwidth| format!("{bandwidth:.1} GB/s"))
        };
        let what = one.operation.map(|operation| operation.replace('_', " "));
        vec![
            format!("{} #{}", what.unwrap_or_else(|| short(&one.kernel, 40)), one.sequence),
            one.bytes.map_or("-".to_owned(), |bytes| Bytes::new(bytes as f64).to_string()),
            time(one.skew),
            format!("rank {}", one.last_rank),
            time(one.transfer),
            rate(one.algorithm_bandwidth_gb_per_s),
            rate(one.bus_bandwidth_gb_per_s),
        ]
    };
    let rows: Vec<Vec<String>> = worst.iter().take(ROWS).map(row).collect();
    let header =
        ["", "bytes", "arrival skew", "last", "transfer", "alg. bandwidth", "bus bandwidth"];
    text += &format!("\n{}{}", heading("Largest skews", style), table(&header, &rows, 2));
    text
}
