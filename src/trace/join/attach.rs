//! Kernels of which one recording says more than another: at the edge of a window, where the call
//! that launched them was before it, or in recordings that have no calls.

use std::collections::BTreeMap;

use super::Event;
use super::meet::{APART_PS, may_be_one};

/// Meetings of two members or more, in order of their ends: those that say nothing beside the name
/// of their kernel put to those of the same name that they may be, the nearest end first.
pub(super) fn attach(events: &[Event], meetings: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let is_said = |members: &Vec<usize>| members.iter().any(|&member| events[member].is_said);
    let end = |members: &Vec<usize>| events[members[0]].end_ps;
    let (mut said, unsaid): (Vec<_>, Vec<_>) = meetings.into_iter().partition(is_said);
    let mut by_name: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, members) in said.iter().enumerate() {
        by_name.entry(events[members[0]].name).or_default().push(index);
    }
    let mut left = Vec::new();
    for members in unsaid {
        let alike = by_name.get(&events[members[0]].name).map_or(&[][..], Vec::as_slice);
        let at = end(&members);
        let from = alike.partition_point(|&index| end(&said[index]) < at.saturating_sub(APART_PS));
        let until =
            alike.partition_point(|&index| end(&said[index]) <= at.saturating_add(APART_PS));
        let near = alike[from.min(until)..until].iter().copied();
        let fitting = near.filter(|&index| may_be_one(events, &said[index], &members));
        match fitting.min_by_key(|&index| end(&said[index]).abs_diff(at)) {
            // Its first member stays the first, so that the order of ends stays.
            Some(index) => said[index].extend(members),
            None => left.push(members),
        }
    }
    said.append(&mut left);
    said.retain(|members| members.len() > 1);
    said.sort_by_key(|members| (end(members), members[0]));
    said
}
