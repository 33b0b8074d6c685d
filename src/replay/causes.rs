//! Why each piece of device work started when it did, and how much of that nobody knows.

use std::collections::BTreeSet;

use super::launches::{Launches, Work};
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
/// Kernels of no more blocks than this run in two waves or one (devices have 80 to 150
/// multiprocessors, each with room for a few blocks), and half their time may drain.
const FEW_BLOCKS: u64 = 512;

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
    /// Work that had to wait until work launched later made room, and for how long.
    pub(super) held: Vec<Lateness>,
    /// Copies that began only when the host had their data ready, as indices into works.
    pub(super) staged: BTreeSet<u32>,
}

/// Adds waits that must have been, and tells what is late all the same.
///
/// Where work starts later than every known cause, and work on another stream of its process that
/// was put there before it ended just then, it is taken to have waited for that: for its result
/// (only where the recording says of none of its waits what they are for), or, where the other was
/// about to end, for its room on the device, which no recording states. Work that was put there
/// later may have had the room as well; to wait for that is no order that an edit must keep (it
/// could make the host wait for what it has not launched), so such work is as late as it was.
pub(super) fn explain(
    recording: &Recording,
    launches: &Launches,
    pace: &Pace,
    waits: &mut StreamWaits,
) -> Explained {
    let says_targets = recording.waits.iter().any(|wait| wait.target.is_some());
    let ends = Ends::of(recording, launches);
    let mut inferred = 0;
    let (mut late, mut held) = (Vec::new(), Vec::new());
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
        let found = ends.held_back_by(launches, index, cause, says_targets);
        inferred += found.waits.len() as u64;
        for &wait in &found.waits {
            cause = cause.max(launches.works[wait as usize].end);
        }
        waits.of[index].extend(found.waits);
        if work.start <= cause + ON_TIME {
            continue;
        }
        let lateness = Lateness { span: work.span, late_ps: work.start - cause };
        // Where nothing else explains the start of a copy whose call waits for it, the host was
        // putting the data into memory that the device can read.
        let is_staged = work
            .call
            .is_some_and(|call| copy_blocks(&recording.timeline.spans[call.0 as usize], work));
        if found.is_held {
            held.push(lateness);
        } else if is_staged {
            staged.insert(index as u32);
        } else {
            late.push(lateness);
        }
    }
    Explained { inferred, late, held, staged }
}

/// Why work started no sooner.
#[derive(Debug, Default)]
struct HeldBack {
    /// Work that was put on its stream before it, and that it waited for.
    waits: Vec<u32>,
    /// Whether it waited, after that, until work that was put on its stream later made room.
    is_held: bool,
}

/// Ends of device work, in order of time.
struct Ends {
    sorted: Vec<(u64, u32)>,
    /// Whether each work is a kernel of few blocks.
    few_blocks: Vec<bool>,
}

impl Ends {
    fn of(recording: &Recording, launches: &Launches) -> Self {
        let mut sorted: Vec<(u64, u32)> =
            launches.works.iter().zip(0..).map(|(work, index)| (work.end, index)).collect();
        sorted.sort_unstable();
        let is_small = |work: &Work| {
            let grid = recording.grids.get(work.span.0 as usize).copied().flatten();
            let blocks = |grid: [u32; 3]| {
                grid.iter().fold(1_u64, |all, &side| all.saturating_mul(u64::from(side)))
            };
            grid.is_some_and(|grid| blocks(grid) <= FEW_BLOCKS)
        };
        Self { sorted, few_blocks: launches.works.iter().map(is_small).collect() }
    }

    /// What a work that could have started at `cause` waited for: a result, or room, or a result
    /// and then room. Results only if the recording states no waits.
    fn held_back_by(
        &self,
        launches: &Launches,
        index: usize,
        cause: u64,
        says_targets: bool,
    ) -> HeldBack {
        let start = launches.works[index].start;
        let result = |at: u64| {
            if says_targets { None } else { self.just_before(launches, index, at) }
        };
        let room = self.room(launches, index);
        let is_earlier = |other: &u32| (*other as usize) < index;
        if let Some(found) = result(start).or(room.filter(is_earlier)) {
            return HeldBack { waits: vec![found], is_held: false };
        }
        let Some(holder) = room else { return HeldBack::default() };
        let held_from = launches.works[holder as usize].start;
        if held_from <= cause + FOLLOWS {
            return HeldBack { waits: Vec::new(), is_held: true };
        }
        // What took the room began when what both waited for had ended.
        let waits: Vec<u32> = result(held_from).into_iter().collect();
        HeldBack { is_held: !waits.is_empty(), waits }
    }

    /// The work of another stream that ended last before a point in time, if just before, and that
    /// a work may have waited for.
    fn just_before(&self, launches: &Launches, index: usize, at: u64) -> Option<u32> {
        let until = self.sorted.partition_point(|end| end.0 <= at + ON_TIME / 2);
        self.sorted[..until]
            .iter()
            .rev()
            .take_while(|end| end.0 + FOLLOWS >= at)
            .map(|end| end.1)
            .find(|&other| may_hold_back(launches, other, index))
    }

    /// The work of another stream whose room a work needed: it ended, or was about to end, when the
    /// work started. Rather one that was put on its stream before the work than one put later.
    fn room(&self, launches: &Launches, index: usize) -> Option<u32> {
        let work = &launches.works[index];
        let from = self.sorted.partition_point(|end| end.0 + FOLLOWS < work.start);
        let made_room = |other: &u32| {
            let held = &launches.works[*other as usize];
            let parts = if self.few_blocks[*other as usize] { 2 } else { DRAINS_PARTS };
            let part = (held.end - held.start) / parts;
            is_elsewhere(launches, *other, index)
                && held.start < work.start
                && held.end.saturating_sub(work.start) <= part
        };
        let near = |&other: &u32| {
            let is_later = other as usize > index;
            (is_later, launches.works[other as usize].end.abs_diff(work.start))
        };
        let ends = self.sorted[from..].iter().take_while(|end| end.0 <= work.start + DRAINS);
        ends.map(|end| end.1).filter(made_room).min_by_key(near)
    }
}

/// Whether a work could hold the one at `index` back, and was put on its stream before it.
fn may_hold_back(launches: &Launches, other: u32, index: usize) -> bool {
    (other as usize) < index && is_elsewhere(launches, other, index)
}

/// Whether a work is on another stream of the process of the work at `index`, and took time.
fn is_elsewhere(launches: &Launches, other: u32, index: usize) -> bool {
    let (cause, work) = (&launches.works[other as usize], &launches.works[index]);
    cause.process == work.process && cause.stream != work.stream && cause.end > cause.start
}
