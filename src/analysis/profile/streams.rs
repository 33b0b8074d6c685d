//! Each stream of a device on its own: how long it was idle, beside others that were busy or not,
//! and how deep its queue was.

use serde::Serialize;
use std::collections::BTreeMap;

use super::idle::Hosts;
use super::queue::Queue;
use super::{IdleTime, QueueProfile, QueueSeries, Work};
use crate::analysis::intervals::Intervals;
use crate::timeline::Lane;
use crate::units::Picoseconds;

/// Where the time of a stream went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamProfile {
    /// Its name.
    pub stream: String,
    /// Kernels, copies and fills.
    pub gpu_events: u64,
    /// From the start of its first work to the end of its last.
    #[serde(rename = "window_us")]
    pub window: Picoseconds,
    /// Time in which any of its work ran.
    #[serde(rename = "busy_us")]
    pub busy: Picoseconds,
    /// Time of the window in which none did, whatever other streams did.
    #[serde(rename = "idle_us")]
    pub idle: Picoseconds,
    /// Why; sums to the idle time.
    pub idle_causes: IdleTime,
    /// Work that was launched and had not begun.
    pub queue: QueueProfile,
    /// That over time.
    pub queue_depth: QueueSeries,
}

/// All streams of a device, in order.
pub(super) fn streams(
    work: &Work<'_>,
    hosts: &Hosts<'_>,
    queues: &BTreeMap<Lane, Queue>,
) -> Vec<StreamProfile> {
    let mut stretches: BTreeMap<Lane, Vec<(u64, u64)>> = BTreeMap::new();
    let mut counts: BTreeMap<Lane, u64> = BTreeMap::new();
    for span in work.device() {
        let (from, to) = span.occupied();
        stretches.entry(span.lane).or_default().push((from.ps(), to.ps()));
        *counts.entry(span.lane).or_default() += 1;
    }
    let mut causes: BTreeMap<Lane, IdleTime> = BTreeMap::new();
    hosts.stream_stretches(|lane, one| causes.entry(lane).or_default().add(&one));
    let profile = |(lane, stretches): (Lane, Vec<(u64, u64)>)| {
        let first = stretches.iter().map(|one| one.0).min().unwrap_or(0);
        let last = stretches.iter().map(|one| one.1).max().unwrap_or(first);
        let busy = Intervals::union(stretches.into_iter()).length();
        let (queue, queue_depth) = queues.get(&lane).cloned().unwrap_or_default();
        StreamProfile {
            stream: work.lane_name(lane).unwrap_or_default().to_owned(),
            gpu_events: counts.get(&lane).copied().unwrap_or(0),
            window: Picoseconds::new(last - first),
            busy: Picoseconds::new(busy),
            idle: Picoseconds::new((last - first).saturating_sub(busy)),
            idle_causes: causes.get(&lane).copied().unwrap_or_default(),
            queue,
            queue_depth,
        }
    };
    stretches.into_iter().map(profile).collect()
}
