//! The account, moment by moment as its definition reads: the judge of the fast one.

use super::block::spread;
use super::{Account, Part};
use crate::timeline::{Lane, Span, Timeline};
use crate::units::Instant;
use crate::work::{Axis, Class};

pub(super) fn account_slow(timeline: &Timeline, process: u32, step_end: Instant) -> Account {
    let end = step_end.ps();
    let mine: Vec<&Span> = timeline.spans.iter().filter(|it| it.process == process).collect();
    let mut borders: Vec<u64> = mine
        .iter()
        .flat_map(|span| [span.start, span.end, span.ready, span.launched])
        .map(Instant::ps)
        .chain([0, end, timeline.end().ps()])
        .filter(|&at| at <= end)
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let mut account = Account::default();
    let mut owned = vec![0; mine.len()];
    for pair in borders.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        match compute_at(&mine, from) {
            Some(index) => owned[index] += to - from,
            None => account.add(idle_part(timeline, &mine, from, end), to - from),
        }
    }
    for (span, length) in mine.iter().zip(owned) {
        match span.breakdown {
            _ if length == 0 => {}
            None => account.add(Part::Work(span.class), length),
            Some(index) => {
                let beside = (span.start.ps()..span.end.ps())
                    .filter(|&at| mine.iter().any(|other| communicates(other, at)))
                    .count() as u64;
                let breakdown = &timeline.breakdowns[index as usize];
                for (class, ps) in spread(breakdown, span, length, beside) {
                    account.add(Part::Work(class), ps);
                }
            }
        }
    }
    account
}

/// Of the compute spans running at a moment the first to start.
fn compute_at(mine: &[&Span], at: u64) -> Option<usize> {
    let running = |span: &Span| span.lane == Lane::Compute && runs(span, at);
    (0..mine.len()).filter(|&it| running(mine[it])).min_by_key(|&it| (mine[it].start, it))
}

fn runs(span: &Span, at: u64) -> bool {
    span.start.ps() <= at && at < span.end.ps()
}

fn communicates(span: &Span, at: u64) -> bool {
    matches!(span.lane, Lane::Communication(..)) && runs(span, at)
}

fn idle_part(timeline: &Timeline, mine: &[&Span], at: u64, end: u64) -> Part {
    if at >= timeline.end().ps() {
        // Nothing of any rank follows.
        return Part::Work(Class::Host);
    }
    let moving = mine.iter().enumerate().filter(|(_, span)| communicates(span, at));
    // max_by_key keeps the last of equals, so order by start and index from the back.
    let last = moving
        .max_by_key(|(index, it)| (it.end, std::cmp::Reverse(it.start), std::cmp::Reverse(*index)));
    if let Some((_, span)) = last {
        let Lane::Communication(axis, _) = span.lane else { unreachable!() };
        return Part::Work(Class::Communication(axis));
    }
    let compute = || mine.iter().filter(|it| it.lane == Lane::Compute && it.end > it.start);
    let gap_from = compute().map(|it| it.end.ps()).filter(|&it| it <= at).max().unwrap_or(0);
    let next = compute().filter(|it| it.start.ps() > at && it.start.ps() < end);
    let next = next.min_by_key(|span| span.start);
    // A span that begins at the end of the step still says when it was launched.
    let beyond = compute().filter(|it| it.start.ps() >= end).min_by_key(|span| span.start);
    let gap_to = next.map_or(timeline.end().ps().min(end), |span| span.start.ps());
    let arrival = mine
        .iter()
        .filter(|it| matches!(it.lane, Lane::Communication(Axis::Pp, _)))
        .filter(|it| it.end.ps() > gap_from && it.end.ps() <= gap_to)
        .map(|it| it.start.ps())
        .max();
    let launched = next.or(beyond).map_or(0, |span| span.launched.ps());
    let stages = |it: &crate::timeline::Process| it.stage.is_some();
    let mut named = timeline.processes.iter().filter(|it| stages(it)).map(|it| it.stage);
    let first = named.next();
    let has_stages = named.any(|stage| Some(stage) != first);
    let waits = mine.iter().any(|it| {
        matches!(it.lane, Lane::Communication(..)) && it.ready.ps() <= at && at < it.start.ps()
    });
    if arrival.is_some_and(|arrival| at < arrival) {
        Part::Bubble
    } else if at < launched {
        Part::Work(Class::Host)
    } else if arrival.is_some() || waits || (has_stages && (gap_from == 0 || next.is_none())) {
        Part::Bubble
    } else {
        Part::Other
    }
}
