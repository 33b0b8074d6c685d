//! Host threads that wait for each other: the main thread for autograd's, and back.
//!
//! Recordings do not say it. A thread that was silent for long and begins just when another has
//! fallen silent was handed the work by it: PyTorch's backward runs on a thread of its own while
//! the main one waits, and optimizers go on when it is done.

use crate::timeline::{Lane, SpanId};
use crate::trace::Recording;
use std::collections::BTreeMap;

/// A thread that makes no call for longer than this is silent, in picoseconds (100 us).
const SILENT: u64 = 100_000_000;

/// A thread goes on because another fell silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    /// The last call of the thread that fell silent.
    pub(super) from: SpanId,
}

/// Calls of each thread in order of their starts.
pub(super) type Threads = BTreeMap<(u32, u32), Vec<SpanId>>;

/// The calls of all threads, by process and thread.
pub(super) fn threads(recording: &Recording) -> Threads {
    let mut threads: Threads = BTreeMap::new();
    for (index, span) in (0..).zip(&recording.timeline.spans) {
        if let Lane::Thread(thread) = span.lane
            && span.call.is_some()
        {
            threads.entry((span.process, thread)).or_default().push(SpanId(index));
        }
    }
    threads
}

/// All hand-overs between threads of a process, by the call that goes on.
pub(super) fn handovers(recording: &Recording, threads: &Threads) -> BTreeMap<SpanId, Handover> {
    let spans = &recording.timeline.spans;
    let start = |call: SpanId| spans[call.0 as usize].start.ps();
    let end = |call: SpanId| spans[call.0 as usize].end.ps();
    // Threads that only ask how things stand (watchdogs) hand nothing over.
    let matters = |call: &&SpanId| {
        let kind = spans[call.0 as usize].call;
        kind.is_some_and(|kind| kind.puts_work() || kind.is_synchronization())
    };
    let threads: Threads = threads
        .iter()
        .map(|(&place, calls)| (place, calls.iter().filter(matters).copied().collect()))
        .collect();
    let mut found = BTreeMap::new();
    for (&(process, thread), calls) in &threads {
        let mut silent_from = 0;
        for &call in calls {
            let (since, at) = (silent_from, start(call));
            silent_from = silent_from.max(end(call));
            if at < since + SILENT {
                continue;
            }
            // Of the other threads, the one that was last to make a call, if in this silence and
            // silent itself from there on.
            let others = threads.range((process, 0)..=(process, u32::MAX));
            let last = others
                .filter(|(place, _)| place.1 != thread)
                .filter_map(|(_, calls)| {
                    let next = calls.partition_point(|&other| start(other) < at);
                    let last = *calls.get(next.checked_sub(1)?)?;
                    Some((end(last), last, calls.get(next).map_or(u64::MAX, |&it| start(it))))
                })
                .max();
            if let Some((fell_silent, from, speaks_again)) = last
                && fell_silent > since
                && fell_silent <= at
                && speaks_again >= fell_silent + SILENT
            {
                found.insert(call, Handover { from });
            }
        }
    }
    found
}
