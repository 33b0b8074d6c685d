//! Communication over other links, among other ranks, or beside compute.

use std::collections::{BTreeMap, BTreeSet};

use super::kernels::{edit_launches, selected, streams};
use crate::explore::what_if::Selector;
use crate::program::{EventId, Stream};
use crate::replay::Prepared;
use crate::units::Seconds;
use crate::work::Class;

/// What is taken for latency.
pub(super) const LATENCY: &str =
    "the shortest of the collectives of a kernel's name is all latency, and so much is in each";

/// Selected works that communicate.
fn communication(prepared: &Prepared<'_>, select: &Selector) -> BTreeSet<u32> {
    let communicates = |&work: &u32| {
        matches!(prepared.program.works[work as usize].class(), Class::Communication(_))
    };
    selected(prepared, select).into_iter().filter(communicates).collect()
}

/// Scales the parts of communication: `factors` gives that of the bytes' part and that of latency
/// for each work.
pub(super) fn scale(
    prepared: &mut Prepared<'_>,
    select: &Selector,
    factors: impl Fn(u32) -> Result<(f64, f64), String>,
) -> Result<u64, String> {
    let works = communication(prepared, select);
    let mut shortest: BTreeMap<String, Seconds> = BTreeMap::new();
    for &work in &works {
        let time = prepared.costs.works[work as usize].time;
        let label = prepared.program.works[work as usize].label.to_string();
        let known = shortest.entry(label).or_insert(time);
        *known = known.min(time);
    }
    for &work in &works {
        let (bytes, latency) = factors(work)?;
        let least = shortest[prepared.program.works[work as usize].label.as_ref()];
        let cost = &mut prepared.costs.works[work as usize];
        cost.time = (cost.time - least) * bytes + least * latency;
    }
    Ok(works.len() as u64)
}

/// Communication of a ring of another number of ranks.
pub(super) fn data_parallel(
    prepared: &mut Prepared<'_>,
    select: &Selector,
    ranks: u64,
) -> Result<u64, String> {
    let recording = prepared.recording;
    let world = recording.sources.iter().find_map(|source| source.world_size);
    let sizes: BTreeMap<u32, u64> = recording
        .communications
        .iter()
        .filter_map(|it| {
            let work = prepared.span_work[it.span.0 as usize]?;
            Some((work.0, it.group_size.or(world)?))
        })
        .collect();
    scale(prepared, select, |work| {
        let size = sizes.get(&work).copied().filter(|&size| size > 1).ok_or_else(|| {
            "the recording does not say how many ranks take part in its collectives".to_owned()
        })?;
        let (now, then) = (size as f64, ranks as f64);
        let bytes = ((then - 1.0) / then) / ((now - 1.0) / now);
        Ok((bytes, (then - 1.0) / (now - 1.0)))
    })
}

/// Moves communication to a stream of its own, where it waits for what came before it, and takes
/// away the waits for it, but for those of kernels that need its result.
pub(super) fn overlap(
    prepared: &mut Prepared<'_>,
    select: &Selector,
    until: Option<&regex::Regex>,
) -> u64 {
    let moved = communication(prepared, select);
    let names: Vec<bool> = prepared
        .program
        .works
        .iter()
        .map(|work| until.is_some_and(|until| until.is_match(&work.label)))
        .collect();
    for role in 0..prepared.program.roles.len() {
        let mut events = BTreeSet::new();
        let mut before: BTreeMap<u32, EventId> = BTreeMap::new();
        // Order on a stream is a wait too: what needs the result waits for it from then on.
        let mut needed: BTreeMap<u32, EventId> = BTreeMap::new();
        let mut free = 0;
        for (stream, launches) in streams(prepared, role) {
            if let Stream::Recorded(number) = stream {
                free = free.max(number.saturating_add(1));
            }
            let (mut last, mut sent) = (EventId::NONE, EventId::NONE);
            for (work, launch) in launches {
                if moved.contains(&work) {
                    events.insert(launch.records);
                    before.insert(work, last);
                    sent = launch.records;
                } else {
                    last = launch.records;
                    if names[work as usize] && sent != EventId::NONE {
                        needed.insert(work, sent);
                    }
                }
            }
        }
        edit_launches(prepared, role, |work, launch, waits| {
            if let Some(&last) = before.get(&work) {
                launch.stream = Stream::Recorded(free);
                waits.push(last);
            } else if let Some(&sent) = needed.get(&work) {
                waits.push(sent);
            } else if !names[work as usize] {
                waits.retain(|event| !events.contains(event));
            }
            true
        });
    }
    moved.len() as u64
}
