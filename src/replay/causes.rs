//! Why each piece of device work started when it did, and how much of that nobody knows.

use std::collections::BTreeSet;

use super::launches::Launches;
use super::pace::Pace;
use super::waits::{StreamWaits, copy_blocks};
use crate::timeline::SpanId;
use crate::trace::Recording;

/// Starts within this of a cause are on time, in picoseconds (2 us): clocks of traces count whole
/// microseconds, and dispatch varies by about one.
const ON_TIME: u64 = 2_000_000;
/// A stream that waits for another goes on within this of its end, in picoseconds (30 us): CUDA
/// takes a few microseconds for it, ROCm up to twenty.
const FOLLOWS: u64 = 30_000_000;
/// Work may begin this long before other work ends whose room it needs, in picoseconds (250 us):
/// the blocks of a kernel do not end all at once.
const DRAINS: u64 = 250_000_000;
/// And no earlier than in the last of so many parts of the other work: it runs in waves of blocks,
/// and only the last leaves room.
const DRAINS_PARTS: u64 = 5;

/// Work that started later than every known cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// The work.
    pub span: SpanId,
    /// By how much, in picoseconds.
    pub late_ps: u64,
}

/// What was found out about starts.
#[derive(Debug)]
pub(super) struct Explained {
    /// Waits among streams that were inferred.
    pub(super) inferred: u64,
    /// Work that started later than every known cause.
    pub(super) late: Vec<Lateness>,
    /// Copies that began only when the host had their data ready, as indices into works.
    pub(super) staged: BTreeSet<u32>,
}

/// Adds waits that must have been, and tells what is late all the same.
///
/// Where work starts later than every known cause, and work on another stream of its process that
/// was put there before it ended just then, it is taken to have waited for that: for its result
/// (only where the recording says of none of its waits what they are for), or, where the other was
/// about to end, for its room on the device, which no recording states.
pub(super) fn explain(
    recording: &Recording,
    launches: &Launches,
    pace: &Pace,
    waits: &mut StreamWaits,
) -> Explained {
    let says_targets = recording.waits.iter().any(|wait| wait.target.is_some());
    let ends = Ends::of(launches);
    let mut inferred = 0;
    let mut late = Vec::new();
    let mut staged = BTreeSet::new();
    for (index, work) in launches.works.iter().enumerate() {
        let mut cause = work.call.map_or(0, |call| {
            let call = &recording.timeline.spans[call.0 as usize];
            pace.arrival(call, work)
        });
        let before = launches.before[index].map(|before| launches.works[before as usize].end);
        cause = cause.max(before.map_or(0, |end| end + pace.gap));
        for &waited in &waits.of[index] {
            cause = cause.max(launches.works[waited as usize].end);
        }
        // The first work of a recording without a call has nothing to be late for.
        let has_cause = work.call.is_some() || before.is_some() || !waits.of[index].is_empty();
        if !has_cause || work.start <= cause + ON_TIME {
            continue;
        }
        let result = if says_targets { None } else { ends.just_before(launches, index) };
        if let Some(found) = result.or_else(|| ends.draining(launches, index)) {
            waits.of[index].push(found);
            inferred += 1;
            cause = cause.max(launches.works[found as usize].end);
        }
        // Where nothing else explains the start of a copy whose call waits for it, the host was
        // putting the data into memory that the device can read.
        let is_staged = work
            .call
            .is_some_and(|call| copy_blocks(&recording.timeline.spans[call.0 as usize], work));
        if is_staged && work.start > cause + ON_TIME {
            staged.insert(index as u32);
        } else if work.start > cause + ON_TIME {
            late.push(Lateness { span: work.span, late_ps: work.start - cause });
        }
    }
    Explained { inferred, late, staged }
}

/// Ends of device work, in order of time.
struct Ends {
    sorted: Vec<(u64, u32)>,
}

impl Ends {
    fn of(launches: &Launches) -> Self {
        let mut sorted: Vec<(u64, u32)> =
            launches.works.iter().zip(0..).map(|(work, index)| (work.end, index)).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The work of another stream that ended last before a work started, if just before.
    fn just_before(&self, launches: &Launches, index: usize) -> Option<u32> {
        let work = &launches.works[index];
        let until = self.sorted.partition_point(|end| end.0 <= work.start + ON_TIME / 2);
        self.sorted[..until]
            .iter()
            .rev()
            .take_while(|end| end.0 + FOLLOWS >= work.start)
            .map(|end| end.1)
            .find(|&other| may_hold_back(launches, other, index))
    }

    /// The work of another stream that was about to end when a work started.
    fn draining(&self, launches: &Launches, index: usize) -> Option<u32> {
        let work = &launches.works[index];
        let from = self.sorted.partition_point(|end| end.0 <= work.start + ON_TIME / 2);
        let about_to_end = |other: u32| {
            let other = &launches.works[other as usize];
            let part = (other.end - other.start) / DRAINS_PARTS;
            other.start < work.start && other.end - work.start <= part
        };
        self.sorted[from..]
            .iter()
            .take_while(|end| end.0 <= work.start + DRAINS)
            .map(|end| end.1)
            .find(|&other| about_to_end(other) && may_hold_back(launches, other, index))
    }
}

/// Whether a work is on another stream of the process of the work at `index`, was put there before
/// it, and took time.
fn may_hold_back(launches: &Launches, other: u32, index: usize) -> bool {
    let (cause, work) = (&launches.works[other as usize], &launches.works[index]);
    let is_other = cause.process == work.process && cause.stream != work.stream;
    is_other && (other as usize) < index && cause.end > cause.start
}
