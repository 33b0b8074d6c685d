//! Where the time of devices and hosts went, as recorded timelines tell it.

mod occupancy;

pub use occupancy::Occupancy;

use serde::Serialize;

use crate::timeline::{Span, Timeline};

/// Where the time of all processes went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Profile {
    /// Each process of the timeline, in its order.
    pub ranks: Vec<RankProfile>,
}

/// Where the time of a process went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RankProfile {
    /// What its device was busy with, over the whole timeline.
    #[serde(flatten)]
    pub occupancy: Occupancy,
    /// Kernels, copies and fills.
    pub gpu_events: u64,
}

/// The profile of a timeline.
pub fn profile(timeline: &Timeline) -> Profile {
    let mut work: Vec<Vec<&Span>> = vec![Vec::new(); timeline.processes.len()];
    for span in timeline.spans.iter().filter(|span| !span.lane.is_host()) {
        if let Some(work) = work.get_mut(span.process as usize) {
            work.push(span);
        }
    }
    let ranks = work.iter().map(|work| RankProfile {
        occupancy: Occupancy::of(work.iter().copied()),
        gpu_events: work.len() as u64,
    });
    Profile { ranks: ranks.collect() }
}
