//! Which kernels of several ranks are one collective, on one clock.

use std::collections::{BTreeMap, BTreeSet};

use super::Event;

/// Ends of members of one collective are no further apart than this: a ring passes its last piece
/// on, over the network too.
pub(super) const APART_PS: i64 = 200_000_000;
/// Errors of clocks: a member may seem to have ended before another began by this much.
const CLOCK_PS: i64 = 20_000_000;

/// Members of each meeting, as indices into `events`, in order of their ends, at most one a
/// process. Kernels that meet no other are among them, alone. Nothing is matched for its place in
/// the order alone.
pub(super) fn meetings(events: &[Event]) -> Vec<Vec<usize>> {
    let mut by_token: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        by_token.entry(event.token).or_default().push(index);
    }
    let mut meetings: Vec<Vec<usize>> = Vec::new();
    for alike in by_token.values_mut() {
        alike.sort_by_key(|&index| (events[index].end_ps, index));
        let mut open: Vec<Vec<usize>> = Vec::new();
        for &index in &*alike {
            let event = &events[index];
            // The oldest that it may belong to: ranks run their collectives in one order.
            match open.iter().position(|members| belongs(events, members, event)) {
                Some(at) => open[at].push(index),
                None => open.push(vec![index]),
            }
            let is_over = |members: &Vec<usize>| {
                let first = &events[members[0]];
                let is_old = event.end_ps.saturating_sub(first.end_ps) > APART_PS;
                (is_old && !first.is_numbered) || is_full(members, first)
            };
            meetings.extend(open.extract_if(.., |members| is_over(members)));
        }
        meetings.append(&mut open);
    }
    meetings.sort_by_key(|members| (events[members[0]].end_ps, members[0]));
    meetings
}

/// Whether kernels of a meeting and of another may all be one: no process twice, no more than take
/// part, all ended together, and all were running when the last one began.
pub(super) fn may_be_one(events: &[Event], meeting: &[usize], other: &[usize]) -> bool {
    let both = || meeting.iter().chain(other).map(|&member| &events[member]);
    let places: BTreeSet<(usize, u32)> = both().map(|event| (event.file, event.process)).collect();
    let count = meeting.len() + other.len();
    let most = both().filter_map(|event| event.most).min();
    let ends = || both().map(|event| event.end_ps);
    let (Some(first), Some(last)) = (ends().min(), ends().max()) else { return false };
    let began = both().map(|event| event.start_ps).max().unwrap_or(i64::MIN);
    places.len() == count
        && most.is_none_or(|most| count as u64 <= most)
        && last.saturating_sub(first) <= APART_PS
        && began <= first.saturating_add(CLOCK_PS)
}

fn is_full(members: &[usize], event: &Event) -> bool {
    event.most.is_some_and(|most| members.len() as u64 >= most)
}

/// Whether a kernel may be the same collective as these: another process, ends together, and all
/// were running when the last one began.
fn belongs(events: &[Event], members: &[usize], event: &Event) -> bool {
    let first = &events[members[0]];
    let place = (event.file, event.process);
    let is_other =
        members.iter().all(|&member| (events[member].file, events[member].process) != place);
    let together = event.is_numbered || event.end_ps.saturating_sub(first.end_ps) <= APART_PS;
    // Members come in order of their ends, so the first has the earliest.
    let began = members.iter().map(|&member| events[member].start_ps).max().unwrap_or(i64::MIN);
    let began = began.max(event.start_ps);
    is_other
        && together
        && !is_full(members, first)
        && began <= first.end_ps.saturating_add(CLOCK_PS)
}
