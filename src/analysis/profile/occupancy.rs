//! What a device was busy with: unions of the times of its work, and what covers what.
//!
//! Definitions are those of Holistic Trace Analysis (its temporal breakdown and communication
//! overlap): copies and fills are work on memory, kernels that communicate are communication, every
//! other kernel is compute; each class is the union of its intervals.

use serde::Serialize;

use crate::analysis::intervals::Intervals;
use crate::timeline::Span;
use crate::units::Picoseconds;
use crate::work::Class;

/// What a device was busy with in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Occupancy {
    /// From the start of the first work to the end of the last.
    #[serde(rename = "window_us")]
    pub window: Picoseconds,
    /// Time of the window in which nothing ran.
    #[serde(rename = "idle_us")]
    pub idle: Picoseconds,
    /// Time in which anything ran.
    #[serde(rename = "busy_us")]
    pub busy: Picoseconds,
    /// Time in which a kernel ran that computes.
    #[serde(rename = "compute_us")]
    pub compute: Picoseconds,
    /// Time in which a kernel ran that communicates, waiting for other members included.
    #[serde(rename = "communication_us")]
    pub communication: Picoseconds,
    /// Time in which a copy or fill ran.
    #[serde(rename = "memory_us")]
    pub memory: Picoseconds,
    /// Time in which both communication and compute ran.
    #[serde(rename = "overlap_us")]
    pub overlap: Picoseconds,
    /// Time of communication that no compute covers.
    #[serde(rename = "exposed_communication_us")]
    pub exposed_communication: Picoseconds,
    /// Time of communication that neither compute nor a copy covers.
    #[serde(rename = "exposed_beyond_memory_us")]
    pub exposed_beyond_memory: Picoseconds,
}

/// What work of a device counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::analysis) enum Occupied {
    Compute,
    Communication,
    Memory,
}

impl Occupied {
    pub(in crate::analysis) const fn of(class: Class) -> Self {
        match class {
            Class::Communication(_) => Self::Communication,
            Class::Copy => Self::Memory,
            _ => Self::Compute,
        }
    }
}

impl Occupancy {
    /// Of work of one device.
    pub(super) fn of<'a>(work: impl Iterator<Item = &'a Span> + Clone) -> Self {
        let stretch = |span: &Span| {
            let (from, to) = span.occupied();
            (from.ps(), to.ps())
        };
        let union = |kind: Occupied| {
            let work = work.clone().filter(|span| Occupied::of(span.class) == kind);
            Intervals::union(work.map(stretch))
        };
        let first = work.clone().map(|span| stretch(span).0).min().unwrap_or(0);
        let last = work.clone().map(|span| stretch(span).1).max().unwrap_or(first);
        let [compute, communication, memory] =
            [Occupied::Compute, Occupied::Communication, Occupied::Memory].map(union);
        let both = |left: &Intervals, right: &Intervals| {
            Intervals::union(left.parts().iter().chain(right.parts()).copied())
        };
        let cover = both(&compute, &memory);
        let busy = both(&cover, &communication).length();
        let overlap = communication.shared_with(&compute);
        let length = communication.length();
        Self {
            window: Picoseconds::new(last.saturating_sub(first)),
            idle: Picoseconds::new(last.saturating_sub(first).saturating_sub(busy)),
            busy: Picoseconds::new(busy),
            compute: Picoseconds::new(compute.length()),
            communication: Picoseconds::new(length),
            memory: Picoseconds::new(memory.length()),
            overlap: Picoseconds::new(overlap),
            exposed_communication: Picoseconds::new(length - overlap),
            exposed_beyond_memory: Picoseconds::new(length - communication.shared_with(&cover)),
        }
    }
}
