//! One offset a file, from collectives that end together.

use rustc_hash::FxHashMap;

use super::Event;

/// Ends of members that are further apart than this on one clock are no agreement. Measured ends
/// of one host agree within 10 us; between hosts clocks drift by some 10 us a second.
const AGREES_PS: i64 = 30_000_000;
/// Offsets below this are not told from the spread of ends.
const SIGNIFICANT_PS: i64 = 10_000_000;
/// Pairs of two files that are compared at most; beyond, only those at nearly the same place.
const PAIRS_MAX: usize = 1 << 21;
/// How far apart in order those are.
const NEAR: usize = 256;
/// The share of collectives that could agree which must, for an offset to be believed.
const BELIEVED_FRACTION: f64 = 0.3;

/// The clock of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) offset_ps: i64,
    pub(super) spread_ps: u64,
    pub(super) agreeing: u64,
    pub(super) is_aligned: bool,
}

/// Ends, on the common clock, of collectives that are known, by what they are.
type Known = FxHashMap<u32, Vec<i64>>;

/// Clocks of all files, against that with most collectives.
pub(super) fn align(events: &[Event], file_count: usize) -> Vec<Clock> {
    let mut files: Vec<Vec<Event>> = vec![Vec::new(); file_count];
    for event in events {
        files[event.file].push(*event);
    }
    let mut clocks = vec![Clock::default(); file_count];
    let most = files.iter().map(Vec::len).max().unwrap_or(0);
    let Some(reference) = files.iter().position(|file| file.len() == most) else { return clocks };
    clocks[reference].is_aligned = true;
    let mut known = Known::default();
    add(&mut known, &files[reference], 0);
    // A file may share collectives only with one that is aligned after it.
    loop {
        let mut has_new = false;
        for file in 0..file_count {
            if clocks[file].is_aligned {
                continue;
            }
            if let Some(clock) = offset(&known, &files[file]) {
                clocks[file] = clock;
                add(&mut known, &files[file], clock.offset_ps);
                has_new = true;
            }
        }
        if !has_new {
            return clocks;
        }
    }
}

/// Adds the collectives of an aligned file that are not known yet.
fn add(known: &mut Known, events: &[Event], offset_ps: i64) {
    for event in events {
        let end = event.end_ps.saturating_sub(offset_ps);
        let ends = known.entry(event.token).or_default();
        let at = ends.partition_point(|&known| known < end.saturating_sub(AGREES_PS));
        if ends.get(at).is_none_or(|&known| known > end.saturating_add(AGREES_PS)) {
            let place = ends.partition_point(|&known| known < end);
            ends.insert(place, end);
        }
    }
}

/// The offset on which most collectives of a file agree with those known.
fn offset(known: &Known, events: &[Event]) -> Option<Clock> {
    let deltas = deltas(known, events);
    if deltas.is_empty() {
        return None;
    }
    let best = (0..deltas.len()).scan(0, |first, last| {
        while deltas[last].0.saturating_sub(deltas[*first].0) > 2 * AGREES_PS {
            *first += 1;
        }
        Some((last + 1 - *first, *first..last + 1))
    });
    let best = best.max_by_key(|(count, range)| (*count, std::cmp::Reverse(range.start)))?.1;
    let from = deltas.partition_point(|delta| delta.0 < -AGREES_PS);
    let until = deltas.partition_point(|delta| delta.0 <= AGREES_PS);
    // Files of one host share a clock: an offset needs a reason.
    let (of_zero, of_best) = (agreeing(&deltas[from..until]), agreeing(&deltas[best.clone()]));
    let range = if of_zero * 5 >= of_best * 4 { from..until } else { best };
    let chosen = &deltas[range];
    let (votes, is_zero) =
        if of_zero * 5 >= of_best * 4 { (of_zero, true) } else { (of_best, false) };
    let mut candidates: Vec<usize> = deltas.iter().map(|delta| delta.1).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let ends: usize = known.values().map(Vec::len).sum();
    let possible = candidates.len().min(ends);
    let least = if is_zero { 1 } else { 2 };
    if votes < least || (votes as f64) < BELIEVED_FRACTION * possible as f64 {
        return None;
    }
    let median = chosen[chosen.len() / 2].0;
    let mut apart: Vec<u64> = chosen.iter().map(|delta| delta.0.abs_diff(median)).collect();
    apart.sort_unstable();
    Some(Clock {
        offset_ps: if median.abs() > SIGNIFICANT_PS { median / 1000 * 1000 } else { 0 },
        spread_ps: apart[apart.len() / 2],
        agreeing: votes as u64,
        is_aligned: true,
    })
}

/// How many collectives of the file are among these.
fn agreeing(deltas: &[(i64, usize)]) -> usize {
    let mut events: Vec<usize> = deltas.iter().map(|delta| delta.1).collect();
    events.sort_unstable();
    events.dedup();
    events.len()
}

/// By how much collectives of a file end later than equal ones that are known, in order; with the
/// index of the collective.
fn deltas(known: &Known, events: &[Event]) -> Vec<(i64, usize)> {
    let mut places: FxHashMap<u32, usize> = FxHashMap::default();
    let pairs: usize = events.iter().map(|event| known.get(&event.token).map_or(0, Vec::len)).sum();
    let mut deltas = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let Some(ends) = known.get(&event.token) else { continue };
        let place = places.entry(event.token).or_default();
        let near = if pairs > PAIRS_MAX {
            let from = place.saturating_sub(NEAR).min(ends.len());
            &ends[from..(*place + NEAR).min(ends.len()).max(from)]
        } else {
            ends.as_slice()
        };
        *place += 1;
        deltas.extend(near.iter().map(|&end| (event.end_ps.saturating_sub(end), index)));
    }
    deltas.sort_unstable();
    deltas
}
