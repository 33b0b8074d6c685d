//! Where the time of a rank went: every picosecond of the step, once.
//!
//! Time in which the compute lane is busy belongs to what it does. The rest is gaps. A gap at any
//! moment is the first of these that holds:
//!
//! 1. Communications of the rank are under way that end in this gap. Compute waited for the one
//!    that ends last: while its data moves (`start..end`) that is exposed communication, while it
//!    waits for other members (`ready..start`) it is bubble.
//! 2. The host has not launched the next kernel: host-bound.
//! 3. A pipeline transfer ended in this gap, or it is the first or the last gap of one stage among
//!    several: bubble.
//! 4. Data of a communication moves, though compute goes on before it ends: exposed; of several
//!    the one that ends last.
//! 5. A communication waits for its other members: bubble.
//! 6. Nothing of this: other.
//!
//! What lies behind the last span of all ranks is the host between two steps: host-bound.

use std::collections::BTreeMap;

mod block;
#[cfg(test)]
mod slow;
mod sweep;
#[cfg(test)]
mod tests;

use crate::timeline::Timeline;
use crate::units::{Instant, Seconds};
use crate::work::{Axis, Class};
use sweep::{Lanes, Sweep, World};

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
    Lanes::of(timeline).into_iter().map(|lanes| Sweep::new(&world, lanes).account()).collect()
}
