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
    let compute = || mine.iter().filter(|it| it.lane == Lane::Compute && it.end > it.start);
    let gap_from = compute().map(|it| it.end.ps()).filter(|&it| it <= at).max().unwrap_or(0);
    let next = compute().filter(|it| it.start.ps() > at).min_by_key(|span| span.start);
    let last_end = timeline.end().ps().min(end);
    let gap_to = next.map_or(last_end, |span| span.start.ps().min(end));
    let ends_here = |it: &Span| it.end.ps() > gap_from && it.end.ps() <= gap_to;
    let awaited =
        last_of(mine, |it| ends_here(it) && it.ready.min(it.start).ps() <= at && at < it.end.ps());
    if let Some((axis, span)) = awaited {
        let moves = span.start.ps() <= at;
        return if moves { Part::Work(Class::Communication(axis)) } else { Part::Bubble };
    }
    if next.is_some_and(|span| at < span.launched.ps()) {
        return Part::Work(Class::Host);
    }
    let mut stages: Vec<u64> = timeline.processes.iter().filter_map(|it| it.stage).collect();
    stages.dedup();
    let is_edge = gap_from == 0 || next.is_none_or(|span| span.start.ps() >= end);
    let is_transfer = |it: &&&Span| matches!(it.lane, Lane::Communication(Axis::Pp, _));
    if (stages.len() > 1 && is_edge) || mine.iter().filter(is_transfer).any(|it| ends_here(it)) {
        return Part::Bubble;
    }
    if let Some((axis, _)) = last_of(mine, |it| communicates(it, at)) {
        return Part::Work(Class::Communication(axis));
    }
    let waits = |it: &Span| it.ready.ps() <= at && at < it.start.ps();
    if last_of(mine, waits).is_some() { Part::Bubble } else { Part::Other }
}

/// Of the communications that meet a condition the one that ends last; of equal ends the one that
/// starts first.
fn last_of<'a>(mine: &[&'a Span], condition: impl Fn(&Span) -> bool) -> Option<(Axis, &'a Span)> {
    let mut last: Option<(Axis, &Span)> = None;
    for &span in mine {
        let Lane::Communication(axis, _) = span.lane else { continue };
        let later = |other: &Span| {
            (span.end, std::cmp::Reverse(span.start)) > (other.end, std::cmp::Reverse(other.start))
        };
        if condition(span) && last.is_none_or(|(_, other)| later(other)) {
            last = Some((axis, span));
        }
    }
    last
}
