//! How fast this host and this device are at handing work over, estimated from the recording.

use super::launches::{Launches, Work};
use super::waits::copy_blocks;
use crate::timeline::Span;
use crate::trace::Recording;

/// Nobody waits longer than this for a start without a cause, in picoseconds (100 us): later
/// starts say nothing about the latency of a launch.
const LATENCY_MOST: i64 = 100_000_000;
/// Gaps between kernels that were both on the stream are below this, in picoseconds (10 us).
pub(super) const GAP_MOST_PS: u64 = 10_000_000;
/// Launches that a device takes before a launch call blocks (CUDA; measured, not documented).
const QUEUE_DEPTH: u32 = 1024;

/// Times between host and device, in picoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From the start of a call to the start on an idle stream, where calls submit at their start.
    from_start: i64,
    /// From the end of a call, where they submit at their end; may be negative.
    from_end: i64,
    /// Whether starts follow the ends of calls more closely than their starts.
    follows_end: bool,
    /// Between two kernels on a stream when the second was there in time.
    pub(super) gap: u64,
    /// Typical duration of a call that launches.
    pub(super) typical: u64,
    /// Launches that may wait on the device.
    pub(super) queue_depth: u32,
}

impl Pace {
    /// Medians over launches onto idle streams, and the mean gap on busy ones (a mean, since clocks
    /// that count whole microseconds make a median of such small times 0, 1 or 2 us).
    pub(super) fn of(recording: &Recording, launches: &Launches) -> Self {
        let (mut from_start, mut from_end, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        let mut durations = Vec::new();
        let gap_most = GAP_MOST_PS as i64;
        for (index, work) in launches.works.iter().enumerate() {
            let Some(call) = work.call else { continue };
            let call = &recording.timeline.spans[call.0 as usize];
            let (call_start, call_end) = (call.start.ps() as i64, call.end.ps() as i64);
            durations.push(call_end - call_start);
            let before = launches.before[index].map(|before| launches.works[before as usize]);
            let free = before.map_or(0, |before| before.end as i64);
            let start = work.start as i64;
            if free <= call_start && start - call_start < LATENCY_MOST {
                from_start.push(start - call_start);
                from_end.push(start - call_end);
            } else if call_end + gap_most < free && start - free < gap_most {
                gaps.push(start - free);
            }
        }
        let follows_end = spread(&mut from_end) < spread(&mut from_start);
        let gap = gaps.iter().sum::<i64>() / gaps.len().max(1) as i64;
        Self {
            from_start: median(&mut from_start).max(0),
            from_end: median(&mut from_end),
            follows_end,
            gap: gap.max(0) as u64,
            typical: median(&mut durations).max(0) as u64,
            queue_depth: QUEUE_DEPTH.max(deepest(launches).saturating_add(1)),
        }
    }

    /// When work may start at the earliest.
    pub(super) fn arrival(&self, call: &Span, work: &Work) -> u64 {
        call.start.ps() + self.before_submission(call, work) + self.latency()
    }

    /// From the end of the host's part of a launch to the start, the same for all launches.
    pub(super) fn latency(&self) -> u64 {
        if self.follows_end { self.from_end.max(0) as u64 } else { self.from_start as u64 }
    }

    /// How much of a call the host spends before the work is submitted: by the time it started at
    /// the latest. Calls that wait for their work submit it in a usual time.
    pub(super) fn before_submission(&self, call: &Span, work: &Work) -> u64 {
        if !self.follows_end {
            return 0;
        }
        let duration = call.end.ps() - call.start.ps();
        let own = if copy_blocks(call, work) { duration.min(self.typical) } else { duration };
        let started_after = work.start.saturating_sub(call.start.ps());
        own.saturating_add_signed(self.from_end.min(0)).min(started_after)
    }
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// The middle half of values.
fn spread(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    let at = |part: usize| values.get(values.len() * part / 4).copied().unwrap_or(0);
    at(3) - at(1)
}

/// Most work that had been put on streams and not begun, in one process.
fn deepest(launches: &Launches) -> u32 {
    let mut changes: Vec<(u32, u64, i32)> = Vec::with_capacity(2 * launches.works.len());
    for work in launches.works.iter().filter(|work: &&Work| work.call.is_some()) {
        changes.push((work.process, work.put, 1));
        changes.push((work.process, work.start, -1));
    }
    changes.sort_unstable();
    let (mut depth, mut most, mut process) = (0_i32, 0, u32::MAX);
    for (of, _, change) in changes {
        depth = if of == process { depth + change } else { change };
        process = of;
        most = most.max(depth);
    }
    most.max(0) as u32
}
