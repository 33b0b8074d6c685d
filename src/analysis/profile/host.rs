//! What the host waited for: synchronisation, copies that block, memory.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Work;
use crate::timeline::{Call, Span};
use crate::units::Picoseconds;

/// Calls of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CallTime {
    /// Name of the call.
    pub call: String,
    /// How many.
    pub count: u64,
    /// Time spent in them, of all threads.
    #[serde(rename = "total_us")]
    pub total: Picoseconds,
}

/// What the host waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostProfile {
    /// Calls that exist to wait for the device, the longest first.
    pub synchronization: Vec<CallTime>,
    /// Copies whose call lasted until the copy had ended.
    pub blocking_copies: CallTime,
    /// Calls that put work on a stream.
    pub launches: CallTime,
    /// Median time of calls that launch kernels.
    #[serde(rename = "launch_median_us")]
    pub launch_median: Picoseconds,
}

/// Calls by name, the longest first.
fn by_name<'a>(work: &Work<'_>, calls: impl Iterator<Item = &'a Span>) -> Vec<CallTime> {
    let mut sums: BTreeMap<&str, CallTime> = BTreeMap::new();
    for span in calls {
        let name = work.name(span);
        let sum = sums.entry(name).or_default();
        sum.call = name.to_owned();
        sum.count += 1;
        sum.total += Picoseconds::between(span.start, span.end);
    }
    let mut sums: Vec<CallTime> = sums.into_values().collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.total));
    sums
}

/// Calls under one name.
fn together<'a>(name: &str, calls: impl Iterator<Item = &'a Span>) -> CallTime {
    let mut sum = CallTime { call: name.to_owned(), ..CallTime::default() };
    for span in calls {
        sum.count += 1;
        sum.total += Picoseconds::between(span.start, span.end);
    }
    sum
}

/// Whether a call copied and lasted until what it copied was there.
pub(super) fn blocks_on_copy(work: &Work<'_>, index: u32, call: &Span) -> bool {
    call.call == Some(Call::Copy)
        && work.launched(index).any(|copy| copy.start >= call.start && copy.end <= call.end)
}

impl HostProfile {
    pub(super) fn of(work: &Work<'_>) -> Self {
        let is = |span: &Span, meant: fn(Call) -> bool| span.call.is_some_and(meant);
        let calls = || work.calls.iter().map(|(_, span)| *span);
        let waits = calls().filter(|span| is(span, Call::is_synchronization));
        let puts = calls().filter(|span| is(span, Call::puts_work));
        let copies = work.calls.iter().filter(|(index, span)| blocks_on_copy(work, *index, span));
        let mut launches: Vec<Picoseconds> = calls()
            .filter(|span| span.call == Some(Call::Launch))
            .map(|span| Picoseconds::between(span.start, span.end))
            .collect();
        let middle = launches.len() / 2;
        let median = match launches.is_empty() {
            true => Picoseconds::ZERO,
            false => *launches.select_nth_unstable(middle).1,
        };
        Self {
            synchronization: by_name(work, waits),
            blocking_copies: together("blocking copies", copies.map(|(_, span)| *span)),
            launches: together("launches and copies", puts),
            launch_median: median,
        }
    }

    /// Time in calls that exist to wait for the device.
    pub fn synchronization_time(&self) -> Picoseconds {
        self.synchronization.iter().map(|call| call.total).sum()
    }
}

/// Calls for device memory and for page-locked memory, during marked steps where there are any.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AllocationProfile {
    /// Calls.
    pub count: u64,
    /// Time in them.
    #[serde(rename = "total_us")]
    pub total: Picoseconds,
    /// By name, the longest first.
    pub calls: Vec<CallTime>,
}

impl AllocationProfile {
    pub(super) fn of(work: &Work<'_>) -> Self {
        let counts = |span: &&Span| {
            matches!(span.call, Some(Call::Allocate | Call::Free))
                && (work.steps.is_empty() || work.step_at(span.start).is_some())
        };
        let calls = by_name(work, work.calls.iter().map(|(_, span)| *span).filter(counts));
        Self {
            count: calls.iter().map(|call| call.count).sum(),
            total: calls.iter().map(|call| call.total).sum(),
            calls,
        }
    }
}
