//! What the threads of a host were doing at a moment: what of it keeps them from launching.

use std::collections::BTreeMap;

use crate::analysis::intervals::Intervals;
use crate::analysis::profile::Work;
use crate::analysis::profile::host::blocks_on_copy;
use crate::timeline::{Call, FramePurpose, Lane};

/// What a thread does at a moment. Calls are indices of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It loads data.
    Loading,
    /// It is in a call for memory.
    Memory(u32),
    /// It waits for the device, or until a copy is there.
    Waiting(u32),
    /// It is in another call.
    Busy,
    /// It is in no call.
    Nothing,
}

/// Calls of one meaning.
#[derive(Clone, Debug, Default)]
struct Calls {
    /// `(start, end, index)`, by start.
    calls: Vec<(u64, u64, u32)>,
    union: Intervals,
}

/// What a thread did when.
#[derive(Clone, Debug, Default)]
pub(super) struct Thread {
    loading: Intervals,
    memory: Calls,
    waits: Calls,
    busy: Intervals,
}

/// Threads of a process.
pub(super) type Threads = BTreeMap<Lane, Thread>;

/// Stretches before they are united.
#[derive(Default)]
struct Raw {
    loading: Vec<(u64, u64)>,
    memory: Vec<(u64, u64, u32)>,
    waits: Vec<(u64, u64, u32)>,
    busy: Vec<(u64, u64)>,
}

/// What each thread of a process did.
pub(super) fn threads(work: &Work<'_>) -> Threads {
    let mut raw: BTreeMap<Lane, Raw> = BTreeMap::new();
    for &(index, span) in &work.calls {
        let Some(call) = span.call else { continue };
        let of_thread = raw.entry(span.lane).or_default();
        let (start, end) = (span.start.ps(), span.end.ps());
        match call {
            Call::Allocate | Call::Free => of_thread.memory.push((start, end, index)),
            _ if call.is_synchronization() || blocks_on_copy(work, index, span) => {
                of_thread.waits.push((start, end, index));
            }
            _ => of_thread.busy.push((start, end)),
        }
    }
    for frame in work.frames {
        if frame.purpose == Some(FramePurpose::DataLoading) {
            let of_thread = raw.entry(Lane::Thread(frame.thread)).or_default();
            of_thread.loading.push((frame.start.ps(), frame.end.ps()));
        }
    }
    let thread = |raw: Raw| Thread {
        loading: Intervals::union(raw.loading.into_iter()),
        memory: Calls::of(raw.memory),
        waits: Calls::of(raw.waits),
        busy: Intervals::union(raw.busy.into_iter()),
    };
    raw.into_iter().map(|(lane, raw)| (lane, thread(raw))).collect()
}

impl Calls {
    /// Of calls in order of their starts.
    fn of(calls: Vec<(u64, u64, u32)>) -> Self {
        let union = Intervals::union(calls.iter().map(|&(start, end, _)| (start, end)));
        Self { calls, union }
    }

    /// The call in which a moment lies, of several the first to begin.
    fn at(&self, at: u64) -> Option<u32> {
        let (from, _) = self.union.part_at(at)?;
        let first = self.calls.partition_point(|call| call.0 < from);
        self.calls[first..].iter().find(|call| call.1 > at).map(|call| call.2)
    }
}

impl Thread {
    /// What it does at a moment.
    pub(super) fn doing(&self, at: u64) -> Doing {
        if self.loading.part_at(at).is_some() {
            return Doing::Loading;
        }
        if let Some(call) = self.memory.at(at) {
            return Doing::Memory(call);
        }
        if let Some(call) = self.waits.at(at) {
            return Doing::Waiting(call);
        }
        if self.busy.part_at(at).is_some() { Doing::Busy } else { Doing::Nothing }
    }

    /// The call in which it waits at a moment.
    pub(super) fn waits_in(&self, at: u64) -> Option<u32> {
        self.waits.at(at)
    }

    /// Adds the moments between two at which it begins or ends something.
    pub(super) fn borders(&self, from: u64, to: u64, borders: &mut Vec<u64>) {
        for intervals in [&self.loading, &self.memory.union, &self.waits.union, &self.busy] {
            let first = intervals.parts().partition_point(|part| part.1 <= from);
            let touching = intervals.parts()[first..].iter().take_while(|part| part.0 < to);
            borders.extend(touching.flat_map(|part| [part.0, part.1]));
        }
        // Of calls that overlap, where one ends another may go on.
        for calls in [&self.memory, &self.waits] {
            let first = calls.calls.partition_point(|call| call.0 <= from);
            let later = calls.calls[first..].iter().take_while(|call| call.0 < to);
            borders.extend(later.flat_map(|call| [call.0, call.1]));
        }
    }
}
