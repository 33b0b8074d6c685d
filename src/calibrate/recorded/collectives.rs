//! Rows of collectives of which all members were recorded.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use super::{ExtractOptions, Ledger, Sheet, gpu, quantile, written_us};
use crate::timeline::SpanId;
use crate::trace::{Communication, Recording};
use crate::work::CollectiveKind;

const COLUMNS: &[&str] =
    &["op", "gpus", "gpus_per_node", "bytes", "dtype", "source", "gpu", "time_us"];

/// Ranks that are taken to be on one node where nobody says.
const ONE_NODE: usize = 8;

/// Format of elements as tables of collectives call it: what is summed is as wide as what is not
/// signed.
fn dtype(name: &str) -> Option<&'static str> {
    Some(match name {
        "bf16" => "bf16",
        "fp16" => "fp16",
        "fp32" => "fp32",
        "fp64" => "fp64",
        "fp8" => "fp8",
        "int32" | "uint32" => "int32",
        "int64" | "uint64" => "int64",
        "int8" | "uint8" | "bool" => "int8",
        _ => return None,
    })
}

/// Rows by operation, ranks, size and format.
pub(super) fn sheet(recording: &Recording, options: &ExtractOptions, ledger: &mut Ledger) -> Sheet {
    let said: FxHashMap<SpanId, &Communication> =
        recording.communications.iter().map(|said| (said.span, said)).collect();
    let mut times: BTreeMap<Vec<String>, Vec<f64>> = BTreeMap::new();
    let mut met = 0;
    for meeting in &recording.timeline.meetings {
        let count = meeting.members.len();
        met += count;
        let members: Vec<&Communication> =
            meeting.members.iter().filter_map(|span| said.get(span).copied()).collect();
        match row(recording, &members, options) {
            Ok(values) => {
                let spans = meeting.members.iter();
                let spans = spans.map(|span| &recording.timeline.spans[span.0 as usize]);
                let start = spans.clone().map(|span| span.start).max();
                let end = spans.map(|span| span.end).max();
                if let (Some(start), Some(end)) = (start, end) {
                    ledger.used += count as u64;
                    times.entry(values).or_default().push(end.since(start).value() * 1e6);
                }
            }
            Err(why) => ledger.leave(why, count),
        }
    }
    let alone = recording.communications.len().saturating_sub(met);
    if alone > 0 {
        ledger.leave("collective of which no other member was recorded", alone);
    }
    let rows = times.into_iter().filter_map(|(mut values, mut times)| {
        let median = quantile(&mut times, 0.5).filter(|&median| median > 0.0)?;
        values.push(written_us(median));
        Some(values)
    });
    Sheet { file: "collective.csv", columns: COLUMNS, rows: rows.collect() }
}

/// All but the time, or why a meeting is no row.
fn row(
    recording: &Recording,
    members: &[&Communication],
    options: &ExtractOptions,
) -> Result<Vec<String>, &'static str> {
    let count = members.len();
    let said = members.first().ok_or("collective without members")?;
    let process = recording.timeline.spans[said.span.0 as usize].process as usize;
    let world = recording.sources.get(process).and_then(|source| source.world_size);
    let told = members.iter().find_map(|said| said.group_size);
    let all = match said.kind {
        // Of a group only the two that exchange a message.
        Some(CollectiveKind::SendReceive) => 2,
        _ => told.or(world).unwrap_or(recording.sources.len() as u64),
    };
    if (count as u64) < all {
        return Err("collective of which not all members were recorded");
    }
    let kind = said.kind.filter(|kind| *kind != CollectiveKind::Broadcast);
    let kind = kind.ok_or("collective of an operation that tables have none of")?;
    let bytes = said.bytes.filter(|bytes| bytes.value() > 0.0);
    let bytes = bytes.ok_or("collective whose size the trace does not say")?;
    // Tables are of equal parts: what ranks put in is the same, and the same for each other rank.
    if members.iter().any(|other| other.bytes != said.bytes || other.is_uneven) {
        return Err("collective whose ranks send different amounts");
    }
    let told = said.dtype.map(|label| recording.timeline.labels.name(label));
    let dtype = told.and_then(dtype).ok_or("collective of a format that tables have none of")?;
    let gpu = gpu(recording, process as u32, options);
    let gpu = gpu.ok_or("the trace does not name its GPU: say --gpu")?;
    let on_node = options.gpus_per_node.or((count <= ONE_NODE).then_some(count as u64));
    let on_node = on_node.ok_or("collective of more ranks than a node has: say --gpus-per-node")?;
    Ok(vec![
        kind.name().to_owned(),
        count.to_string(),
        on_node.to_string(),
        format!("{:.0}", bytes.value()),
        dtype.to_owned(),
        "trace".to_owned(),
        gpu,
    ])
}
