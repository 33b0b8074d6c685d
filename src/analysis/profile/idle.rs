//! Why nothing ran on a device.
//!
//! An idle stretch ends with some work. Until the call that launched it had returned, the host was
//! late: it sat in a call that waits for the device, in a call for memory, or was on its way to the
//! launch, which is launch-bound. What lies behind the launch is waiting on the device: for other
//! streams, for a copy engine, or the latency of a launch. Only the thread that launched counts.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Work;
use super::host::blocks_on_copy;
use crate::analysis::intervals::Intervals;
use crate::timeline::{Call, Lane};
use crate::units::Picoseconds;

/// Why nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The host was on its way to the launch.
    Launch,
    /// The host waited for the device.
    Synchronization,
    /// The host was in a call for memory.
    Allocation,
    /// The work had been launched, and waited on the device.
    Device,
    /// No call is known to have launched the work.
    Unknown,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 5] =
        [Self::Launch, Self::Synchronization, Self::Allocation, Self::Device, Self::Unknown];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "host was late to launch",
            Self::Synchronization => "host waited for the device",
            Self::Allocation => "host allocated memory",
            Self::Device => "launched, waited on the device",
            Self::Unknown => "launch unknown",
        }
    }
}

/// Idle time of a device by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdleTime {
    /// The host was on its way to the launch of the next work: launch-bound.
    #[serde(rename = "launch_bound_us")]
    pub launch: Picoseconds,
    /// The host waited for the device, or for a copy, before it launched the next work.
    #[serde(rename = "synchronization_us")]
    pub synchronization: Picoseconds,
    /// The host was in a call for memory before it launched the next work.
    #[serde(rename = "allocation_us")]
    pub allocation: Picoseconds,
    /// The next work had been launched.
    #[serde(rename = "device_us")]
    pub device: Picoseconds,
    /// No call is known to have launched the next work.
    #[serde(rename = "unknown_us")]
    pub unknown: Picoseconds,
}

/// An idle stretch, and the parts that make it up.
pub(in crate::analysis) type IdleStretch = (u64, u64, [(Cause, u64); 5]);

/// When the threads of a process could not launch.
struct Blocked {
    synchronization: Intervals,
    allocation: Intervals,
}

impl IdleTime {
    /// Of the device of a process.
    pub(super) fn of(work: &Work<'_>) -> Self {
        let mut idle = Self::default();
        for (_, _, parts) in stretches(work) {
            for (cause, ps) in parts {
                *idle.part(cause) += Picoseconds::new(ps);
            }
        }
        idle
    }

    fn part(&mut self, cause: Cause) -> &mut Picoseconds {
        match cause {
            Cause::Launch => &mut self.launch,
            Cause::Synchronization => &mut self.synchronization,
            Cause::Allocation => &mut self.allocation,
            Cause::Device => &mut self.device,
            Cause::Unknown => &mut self.unknown,
        }
    }

    /// Time of a cause.
    pub fn time(mut self, cause: Cause) -> Picoseconds {
        *self.part(cause)
    }

    /// All of it.
    pub fn total(self) -> Picoseconds {
        Cause::ALL.into_iter().map(|cause| self.time(cause)).sum()
    }
}

/// Idle stretches of a device between its first and its last work, in order.
pub(in crate::analysis) fn stretches(work: &Work<'_>) -> Vec<IdleStretch> {
    let blocked = blocked(work);
    let mut stretches = Vec::new();
    let mut free_from: Option<u64> = None;
    for &(index, span) in &work.device {
        let (start, end) = span.occupied();
        if let Some(from) = free_from.filter(|&from| from < start.ps()) {
            stretches.push((from, start.ps(), causes(work, &blocked, index, from, start.ps())));
        }
        free_from = free_from.max(Some(end.ps()));
    }
    stretches
}

/// When each thread waited or allocated.
fn blocked(work: &Work<'_>) -> BTreeMap<Lane, Blocked> {
    let mut calls: BTreeMap<Lane, [Vec<(u64, u64)>; 2]> = BTreeMap::new();
    for &(index, span) in &work.calls {
        let Some(call) = span.call else { continue };
        let kind = match call {
            Call::Allocate | Call::Free => 1,
            _ if call.is_synchronization() || blocks_on_copy(work, index, span) => 0,
            _ => continue,
        };
        calls.entry(span.lane).or_default()[kind].push((span.start.ps(), span.end.ps()));
    }
    let union = |calls: [Vec<(u64, u64)>; 2]| {
        let [synchronization, allocation] =
            calls.map(|stretches| Intervals::union(stretches.into_iter()));
        Blocked { synchronization, allocation }
    };
    calls.into_iter().map(|(lane, calls)| (lane, union(calls))).collect()
}

fn causes(
    work: &Work<'_>,
    blocked: &BTreeMap<Lane, Blocked>,
    next: u32,
    from: u64,
    to: u64,
) -> [(Cause, u64); 5] {
    let mut parts = Cause::ALL.map(|cause| (cause, 0));
    let Some(call) = work.call_of(next) else {
        parts[4].1 = to - from;
        return parts;
    };
    let launched = call.end.ps().clamp(from, to);
    // A copy that the host waits for is on its way from the start of its call on.
    let until =
        if call.call == Some(Call::Copy) { call.start.ps().clamp(from, to) } else { launched };
    let (waited, allocated) = blocked.get(&call.lane).map_or((0, 0), |blocked| {
        let waited = blocked.synchronization.covered(from, until);
        (waited, blocked.allocation.covered(from, until).min(until - from - waited))
    });
    parts[0].1 = until - from - waited - allocated;
    parts[1].1 = waited;
    parts[2].1 = allocated;
    parts[3].1 = to - until;
    parts
}
