//! Where the time of a rank went: every picosecond of the step, once.
//!
//! Time in which the compute lane is busy belongs to what it does. The rest is gaps. In a gap, at
//! any moment, the first of these that holds:
//!
//! 1. a communication of the rank moves data (`start..end`): exposed communication, and of several
//!    that one's axis which ends last;
//! 2. a pipeline transfer that ends in this gap has not begun: bubble;
//! 3. the host has not launched the next kernel: host-bound;
//! 4. a pipeline transfer ended in this gap, or it is the first or the last gap of one stage among
//!    several, or a communication waits for its other members (`ready..start`): bubble;
//! 5. nothing of this: other.
//!
//! What lies behind the last span of all ranks is the host between two steps: host-bound.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

mod block;
mod intervals;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod tests;

use crate::timeline::{Lane, Span, Timeline};
use crate::units::{Instant, Seconds};
use crate::work::{Axis, Class};
use block::spread;
use intervals::Intervals;

/// One of the things that a rank's time goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Kernels of a class; exposed communication along an axis; waiting for the host.
    Work(Class),
    /// Waiting for other ranks.
    Bubble,
    /// None of these.
    Other,
}

/// Where the time of a rank went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    parts: BTreeMap<Part, u64>,
}

impl Account {
    fn add(&mut self, part: Part, ps: u64) {
        if ps > 0 {
            *self.parts.entry(part).or_default() += ps;
        }
    }

    /// Time of a part.
    pub fn time(&self, part: Part) -> Seconds {
        let ps = self.parts.get(&part).copied().unwrap_or(0);
        Instant::from_ps(ps) - Instant::START
    }

    /// Time in which the compute lane waited for communication along an axis.
    pub fn exposed(&self, axis: Axis) -> Seconds {
        self.time(Part::Work(Class::Communication(axis)))
    }

    /// All of it: the step time.
    pub fn total(&self) -> Seconds {
        Instant::from_ps(self.parts.values().sum()) - Instant::START
    }

    /// Time in which the rank did work that only it and its tensor-parallel peers are waited for:
    /// all but bubble, host, pipeline transfers and the unexplained.
    pub(super) fn busy_ps(&self) -> u64 {
        let idle = [
            Part::Bubble,
            Part::Other,
            Part::Work(Class::Host),
            Part::Work(Class::Communication(Axis::Pp)),
        ];
        self.parts.iter().filter(|(part, _)| !idle.contains(part)).map(|(_, ps)| ps).sum()
    }
}

/// The account of one process of the timeline over `START..step_end`.
///
/// Takes time near-linear in the number of spans.
pub fn account(timeline: &Timeline, process: u32, step_end: Instant) -> Account {
    accounts(timeline, step_end).into_iter().nth(process as usize).unwrap_or_default()
}

/// The accounts of all processes over `START..step_end`.
pub fn accounts(timeline: &Timeline, step_end: Instant) -> Vec<Account> {
    let world = World::of(timeline, step_end);
    let mut lanes: Vec<Lanes> = Vec::new();
    lanes.resize_with(timeline.processes.len(), Lanes::default);
    for span in &timeline.spans {
        let Some(lanes) = lanes.get_mut(span.process as usize) else { continue };
        match span.lane {
            Lane::Compute if span.end > span.start => lanes.compute.push(span),
            Lane::Communication(axis, _) => lanes.communication.push((axis, span)),
            Lane::Compute | Lane::Host => {}
        }
    }
    lanes.into_iter().map(|lanes| Sweep::new(&world, lanes).account()).collect()
}

/// What all ranks have in common.
struct World<'a> {
    timeline: &'a Timeline,
    /// End of the step, in picoseconds.
    end: u64,
    /// End of the last span that counts.
    last: u64,
    has_stages: bool,
}

impl<'a> World<'a> {
    fn of(timeline: &'a Timeline, step_end: Instant) -> Self {
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

#[derive(Default)]
struct Lanes<'a> {
    compute: Vec<&'a Span>,
    communication: Vec<(Axis, &'a Span)>,
}

/// A stretch in which the compute lane is idle.
#[derive(Clone, Copy)]
struct Gap {
    from: u64,
    to: u64,
    /// When the host had launched what ends the gap.
    launched: u64,
    /// Start of the latest pipeline transfer that ends in the gap.
    arrival: Option<u64>,
    is_first_or_last: bool,
}

struct Sweep<'a> {
    world: &'a World<'a>,
    lanes: Lanes<'a>,
    waiting: Intervals,
    running: Intervals,
    gaps: Vec<Gap>,
    account: Account,
}

impl<'a> Sweep<'a> {
    fn new(world: &'a World<'a>, mut lanes: Lanes<'a>) -> Self {
        // Stable sorts: of equal starts the one that the timeline lists first comes first.
        lanes.compute.sort_by_key(|span| span.start);
        lanes.communication.sort_by_key(|(_, span)| span.start);
        let times = |of: fn(&Span) -> (u64, u64)| {
            Intervals::union(lanes.communication.iter().map(|(_, span)| of(span)))
        };
        let waiting = times(|span| (span.ready.ps(), span.start.ps()));
        let running = times(|span| (span.start.ps(), span.end.ps()));
        Self { world, lanes, waiting, running, gaps: Vec::new(), account: Account::default() }
    }

    fn account(mut self) -> Account {
        self.take_compute();
        self.find_arrivals();
        for (gap, from, to) in self.take_communication() {
            self.take_idle(gap, from, to);
        }
        self.account
    }

    /// Gives the busy time of the compute lane to its spans and leaves the gaps.
    fn take_compute(&mut self) {
        let end = self.world.end;
        let mut cursor = 0;
        for span in std::mem::take(&mut self.lanes.compute) {
            let (from, to) = (span.start.ps().max(cursor).min(end), span.end.ps().min(end));
            if from > cursor {
                self.gaps.push(Gap {
                    from: cursor,
                    to: from,
                    launched: span.launched.ps(),
                    arrival: None,
                    is_first_or_last: cursor == 0 || from == end,
                });
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
            let gap =
                Gap { from: cursor, to: last, launched: 0, arrival: None, is_first_or_last: true };
            self.gaps.push(gap);
        }
        self.account.add(Part::Work(Class::Host), end - last);
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

    /// Notes for each gap the latest pipeline transfer that ends in it.
    fn find_arrivals(&mut self) {
        for (axis, span) in &self.lanes.communication {
            let end = span.end.ps();
            let index = self.gaps.partition_point(|gap| gap.to < end);
            if let Some(gap) = self.gaps.get_mut(index)
                && *axis == Axis::Pp
                && end > gap.from
            {
                gap.arrival = gap.arrival.max(Some(span.start.ps()));
            }
        }
    }

    /// Gives time in gaps to running communication; what is left as (gap, from, to).
    fn take_communication(&mut self) -> Vec<(Gap, u64, u64)> {
        let spans = &self.lanes.communication;
        let mut idle = Vec::new();
        let mut next = 0;
        // The one that ends last on top; of equal ends the first to start.
        let mut active: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
        for &gap in &self.gaps {
            let mut cursor = gap.from;
            while cursor < gap.to {
                while let Some((_, span)) = spans.get(next).filter(|it| it.1.start.ps() <= cursor) {
                    active.push((span.end.ps(), Reverse(next)));
                    next += 1;
                }
                while active.peek().is_some_and(|top| top.0 <= cursor) {
                    active.pop();
                }
                let next_start = spans.get(next).map_or(gap.to, |it| it.1.start.ps().min(gap.to));
                match active.peek() {
                    Some(&(end, Reverse(index))) => {
                        let until = end.min(next_start);
                        let class = Class::Communication(spans[index].0);
                        self.account.add(Part::Work(class), until - cursor);
                        cursor = until;
                    }
                    None => {
                        idle.push((gap, cursor, next_start));
                        cursor = next_start;
                    }
                }
            }
        }
        idle
    }

    /// Gives away a piece of a gap in which nothing moves.
    fn take_idle(&mut self, gap: Gap, from: u64, to: u64) {
        let arrival = gap.arrival.unwrap_or(0).clamp(from, to);
        let launched = gap.launched.clamp(arrival, to);
        self.account.add(Part::Bubble, arrival - from);
        self.account.add(Part::Work(Class::Host), launched - arrival);
        let rest = to - launched;
        let edge_of_stage = gap.is_first_or_last && self.world.has_stages;
        let bubble = match gap.arrival.is_some() || edge_of_stage {
            true => rest,
            false => self.waiting.covered(launched, to),
        };
        self.account.add(Part::Bubble, bubble);
        self.account.add(Part::Other, rest - bubble);
    }
}
