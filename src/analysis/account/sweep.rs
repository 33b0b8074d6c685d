//! The account of a process in one pass over its sorted spans.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::block::spread;
use super::{Account, Part};
use crate::analysis::intervals::Intervals;
use crate::timeline::{Lane, Span, Timeline};
use crate::units::Instant;
use crate::work::{Axis, Class};

/// What all ranks have in common.
pub(super) struct World<'a> {
    timeline: &'a Timeline,
    /// End of the step, in picoseconds.
    end: u64,
    /// End of the last span that counts.
    last: u64,
    has_stages: bool,
}

impl<'a> World<'a> {
    pub(super) fn of(timeline: &'a Timeline, step_end: Instant) -> Self {
        let mut stages = timeline.processes.iter().filter_map(|process| process.stage);
        let first = stages.next();
        let end = step_end.ps();
        Self {
            timeline,
            end,
            last: timeline.end().ps().min(end),
            has_stages: stages.any(|stage| Some(stage) != first),
        }
    }
}

/// Spans of a process.
#[derive(Default)]
pub(super) struct Lanes<'a> {
    compute: Vec<&'a Span>,
    communication: Vec<(Axis, &'a Span)>,
}

impl<'a> Lanes<'a> {
    /// Those of every process.
    pub(super) fn of(timeline: &'a Timeline) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        all.resize_with(timeline.processes.len(), Self::default);
        for span in &timeline.spans {
            let Some(lanes) = all.get_mut(span.process as usize) else { continue };
            match span.lane {
                Lane::Compute if span.end > span.start => lanes.compute.push(span),
                Lane::Communication(axis, _) => lanes.communication.push((axis, span)),
                Lane::Compute | Lane::Host | Lane::Thread(_) | Lane::Stream(_) => {}
            }
        }
        all
    }
}

/// A stretch in which the compute lane is idle.
struct Gap {
    from: u64,
    to: u64,
    /// When the host had launched what ends the gap.
    launched: u64,
    /// Communications that end in it, by index.
    ended: Vec<usize>,
    is_first_or_last: bool,
}

/// Half-open stretch of time.
type Stretch = (u64, u64);

/// The pass.
pub(super) struct Sweep<'a> {
    world: &'a World<'a>,
    lanes: Lanes<'a>,
    waiting: Intervals,
    running: Intervals,
    account: Account,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(world: &'a World<'a>, mut lanes: Lanes<'a>) -> Self {
        // Stable sorts: of equal starts the one that the timeline lists first comes first.
        lanes.compute.sort_by_key(|span| span.start);
        lanes.communication.sort_by_key(|(_, span)| span.start);
        let union = |of: fn(&Span) -> Stretch| {
            Intervals::union(lanes.communication.iter().map(|(_, span)| of(span)))
        };
        let waiting = union(|span| (span.ready.ps(), span.start.ps()));
        let running = union(|span| (span.start.ps(), span.end.ps()));
        Self { world, lanes, waiting, running, account: Account::default() }
    }

    pub(super) fn account(mut self) -> Account {
        let mut gaps = self.take_compute();
        self.assign_communication(&mut gaps);
        let mut unexplained = Vec::new();
        for gap in gaps {
            for stretch in self.take_awaited(&gap) {
                unexplained.extend(self.take_idle(&gap, stretch));
            }
        }
        for (from, to) in self.take_unawaited(&unexplained) {
            let bubble = self.waiting.covered(from, to);
            self.account.add(Part::Bubble, bubble);
            self.account.add(Part::Other, to - from - bubble);
        }
        self.account
    }

    /// Gives the busy time of the compute lane to its spans and returns the gaps.
    fn take_compute(&mut self) -> Vec<Gap> {
        let end = self.world.end;
        let mut gaps = Vec::new();
        let mut cursor = 0;
        let mut gap = |from: u64, to: u64, launched: u64, is_last: bool| {
            let is_first_or_last = from == 0 || is_last;
            gaps.push(Gap { from, to, launched, ended: Vec::new(), is_first_or_last });
        };
        for span in std::mem::take(&mut self.lanes.compute) {
            let (from, to) = (span.start.ps().max(cursor).min(end), span.end.ps().min(end));
            if from > cursor {
                gap(cursor, from, span.launched.ps(), from == end);
                cursor = from;
            }
            // Spans of several compute streams overlap: the first to start owns the time.
            if to > from {
                self.take_span(span, to - from);
                cursor = to;
            }
        }
        let last = self.world.last.max(cursor);
        if last > cursor {
            gap(cursor, last, 0, true);
        }
        self.account.add(Part::Work(Class::Host), end - last);
        gaps
    }

    fn take_span(&mut self, span: &Span, length: u64) {
        let breakdown =
            span.breakdown.and_then(|index| self.world.timeline.breakdowns.get(index as usize));
        let Some(breakdown) = breakdown else {
            return self.account.add(Part::Work(span.class), length);
        };
        let beside = self.running.covered(span.start.ps(), span.end.ps());
        for (class, ps) in spread(breakdown, span, length, beside) {
            self.account.add(Part::Work(class), ps);
        }
    }

    /// Notes each communication in the gap in which it ends, if it ends in one.
    fn assign_communication(&self, gaps: &mut [Gap]) {
        for (index, (_, span)) in self.lanes.communication.iter().enumerate() {
            let end = span.end.ps();
            let gap = gaps.partition_point(|gap| gap.to < end);
            if let Some(gap) = gaps.get_mut(gap).filter(|gap| gap.from < end) {
                gap.ended.push(index);
            }
        }
    }

    /// Gives the time in a gap that compute waits for communication, from the back: each moment to
    /// the one that ends last. Returns what is left, in ascending order.
    fn take_awaited(&mut self, gap: &Gap) -> Vec<Stretch> {
        let mut ended: Vec<(Axis, &Span)> =
            gap.ended.iter().map(|&index| self.lanes.communication[index]).collect();
        ended.sort_by_key(|(_, span)| (Reverse(span.end), span.start));
        let mut left = Vec::new();
        let mut cursor = gap.to;
        for (axis, span) in ended {
            let ready = span.ready.min(span.start).ps().max(gap.from);
            let end = span.end.ps().min(cursor);
            if ready >= end {
                continue;
            }
            left.push((end, cursor));
            let start = span.start.ps().clamp(ready, end);
            self.account.add(Part::Work(Class::Communication(axis)), end - start);
            self.account.add(Part::Bubble, start - ready);
            cursor = ready;
        }
        left.push((gap.from, cursor));
        left.retain(|(from, to)| from < to);
        left.reverse();
        left
    }

    /// Gives to the host and the pipeline what they explain of a stretch; returns the rest.
    fn take_idle(&mut self, gap: &Gap, (from, to): Stretch) -> Option<Stretch> {
        let launched = gap.launched.clamp(from, to);
        self.account.add(Part::Work(Class::Host), launched - from);
        let is_pipeline = |&index: &usize| self.lanes.communication[index].0 == Axis::Pp;
        let is_edge = gap.is_first_or_last && self.world.has_stages;
        if is_edge || gap.ended.iter().any(is_pipeline) {
            self.account.add(Part::Bubble, to - launched);
            return None;
        }
        (launched < to).then_some((launched, to))
    }

    /// Gives the time of ascending stretches in which data moves; returns the rest.
    fn take_unawaited(&mut self, stretches: &[Stretch]) -> Vec<Stretch> {
        let spans = &self.lanes.communication;
        let mut idle = Vec::new();
        let mut next = 0;
        // The one that ends last on top; of equal ends the first to start.
        let mut active: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
        for &(from, to) in stretches {
            let mut cursor = from;
            while cursor < to {
                while let Some((_, span)) = spans.get(next).filter(|it| it.1.start.ps() <= cursor) {
                    active.push((span.end.ps(), Reverse(next)));
                    next += 1;
                }
                while active.peek().is_some_and(|top| top.0 <= cursor) {
                    active.pop();
                }
                let next_start = spans.get(next).map_or(to, |it| it.1.start.ps().min(to));
                match active.peek() {
                    Some(&(end, Reverse(index))) => {
                        let until = end.min(next_start);
                        let class = Class::Communication(spans[index].0);
                        self.account.add(Part::Work(class), until - cursor);
                        cursor = until;
                    }
                    None => {
                        idle.push((cursor, next_start));
                        cursor = next_start;
                    }
                }
            }
        }
        idle
    }
}
