//! What streams and calls waited for.

use super::launches::{Launches, Work};
use crate::timeline::{Call, Span, SpanId};
use crate::trace::Recording;

/// Work that another work waits for on another stream.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamWaits {
    /// For each work, those that it waits for, as indices into [`Launches::works`]; all were put on
    /// their streams before it.
    pub(super) of: Vec<Vec<u32>>,
    /// Waits that the recording states.
    pub(super) known: u64,
}

/// Waits that synchronisation records state: the first work put on the waiting stream after the
/// call waits for the last put on the other before the event was recorded.
pub(super) fn stated(recording: &Recording, launches: &Launches) -> StreamWaits {
    let mut waits = StreamWaits { of: vec![Vec::new(); launches.works.len()], known: 0 };
    for wait in &recording.waits {
        let (Some(stream), Some(target)) = (wait.stream, wait.target) else { continue };
        let (Some(source), Some(record)) = (target.stream, target.record) else { continue };
        let recorded_at = recording.timeline.spans[record.0 as usize].start.ps();
        let Some(cause) = launches.last_before(wait.process, source, recorded_at) else { continue };
        let Some(works) = launches.streams.get(&(wait.process, stream)) else { continue };
        let at = wait.at.ps();
        let next = works.partition_point(|&work| launches.works[work as usize].put < at);
        if let Some(&work) = works.get(next)
            && launches.works[cause as usize].put <= launches.works[work as usize].put
            && cause != work
        {
            let of = &mut waits.of[work as usize];
            if !of.contains(&cause) {
                of.push(cause);
                waits.known += 1;
            }
        }
    }
    waits
}

/// What a call that blocks waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct HostWait {
    /// Work, as indices into [`Launches::works`].
    pub(super) works: Vec<u32>,
    /// Whether the recording does not say it.
    pub(super) is_guess: bool,
}

/// Later ends than this before the end of a call are not what it waited for, in picoseconds: the
/// host needs some microseconds to notice.
const NOTICE: u64 = 2_000_000;

/// What a call waited for; nothing where it does not wait for the device.
pub(super) fn host_wait(
    recording: &Recording,
    launches: &Launches,
    call: SpanId,
) -> Option<HostWait> {
    let span = &recording.timeline.spans[call.0 as usize];
    let (start, end) = (span.start.ps(), span.end.ps());
    let kind = span.call?;
    let last_of_all = || {
        let streams = launches.streams_of(span.process);
        let last = |(stream, _): (u32, &[u32])| launches.last_before(span.process, stream, start);
        streams.filter_map(last).collect::<Vec<u32>>()
    };
    match kind {
        Call::SynchronizeDevice => Some(HostWait { works: last_of_all(), is_guess: false }),
        Call::SynchronizeStream | Call::SynchronizeEvent => {
            let stated = recording
                .synchronized
                .binary_search_by_key(&call, |synchronized| synchronized.call)
                .ok()
                .map(|found| recording.synchronized[found].target);
            if let Some(target) = stated
                && let Some(stream) = target.stream
            {
                let at = target
                    .record
                    .map_or(start, |record| recording.timeline.spans[record.0 as usize].start.ps());
                let work = launches.last_before(span.process, stream, at);
                return Some(HostWait { works: work.into_iter().collect(), is_guess: false });
            }
            // The stream whose last work ended last before the call did, if it ended during it.
            let ended = last_of_all()
                .into_iter()
                .filter(|&work| {
                    let work_end = launches.works[work as usize].end;
                    work_end > start && work_end <= end + NOTICE
                })
                .max_by_key(|&work| launches.works[work as usize].end);
            Some(HostWait { works: ended.into_iter().collect(), is_guess: true })
        }
        // Memory given back to the driver is free only when the device is done with it.
        Call::Free => {
            let works: Vec<u32> = last_of_all();
            let waited = works.iter().any(|&work| {
                let work_end = launches.works[work as usize].end;
                work_end > start && work_end <= end + NOTICE
            });
            let all_over =
                works.iter().all(|&work| launches.works[work as usize].end <= end + NOTICE);
            (waited && all_over).then_some(HostWait { works, is_guess: true })
        }
        _ => None,
    }
}

/// Whether a call that copies lasted until its copy was done, or nearly: the host has a hand in
/// copies of memory that is not pinned, and the last part of them may be on its way as it returns.
pub(super) fn copy_blocks(call: &Span, work: &Work) -> bool {
    let slack = NOTICE.max((work.end - work.start) / 10);
    call.call == Some(Call::Copy)
        && work.end > call.start.ps()
        && work.end <= call.end.ps().saturating_add(slack)
}
