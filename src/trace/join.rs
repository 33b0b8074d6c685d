//! Recordings of several ranks of one job as one: ranks numbered, clocks aligned, collectives
//! matched.
//!
//! Three steps. **Clocks**: members of a collective end together, so among all pairs of equal
//! collectives of two files the difference of their ends is the offset of the clocks for those that
//! belong together and scattered for all others; the offset is where most pairs agree
//! (`join/clock.rs`). A file whose collectives agree with no other's stays apart. **Meetings**: on
//! aligned clocks, equal collectives whose kernels overlapped and ended together are one
//! (`join/meet.rs`); so a rank may lack some at the edges of its window or have more, and sends and
//! receives meet their partners only. A recording may say more of one collective than another does
//! of the same: kernels that say nothing beside their name meet any of that name at that time
//! (`join/attach.rs`). **Merging**: processes in order of their ranks, one table of
//! names, one clock. In a member, `ready` is then its own start and `start` that of the last
//! member known, so that `ready..start` is waiting and `start..end` the transfer. Where not all
//! members were recorded, an unrecorded one may have been the last.

mod attach;
mod clock;
mod meet;
mod merge;
#[cfg(test)]
mod tests;

use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

use super::{Communication, Recording, TraceError};
use crate::timeline::{Meeting, SpanId};
use crate::work::CollectiveKind;

/// Recordings that were put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// All of them; `timeline.meetings` is filled.
    pub recording: Recording,
    /// The clock of each file, in the order in which they were given.
    pub clocks: Vec<FileClock>,
    /// Kernels of collectives, by process: those that are members of a meeting, and all.
    pub members: Vec<(u64, u64)>,
}

/// How the clock of a file lies against the others'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileClock {
    /// The file.
    pub file: String,
    /// What was taken off its times, in nanoseconds; 0 where it is too little to be a difference
    /// of clocks.
    pub offset_ns: i64,
    /// Median distance of ends from those of the other members, in nanoseconds.
    pub spread_ns: u64,
    /// Collectives that agree on the offset.
    pub agreeing: u64,
    /// Whether it is on the same clock as others; if not, none of its collectives was matched.
    pub is_aligned: bool,
}

/// A collective of one member, on the clock that files share once they are aligned.
#[derive(Clone, Copy, Debug)]
struct Event {
    file: usize,
    /// Index of the process in its file.
    process: u32,
    span: SpanId,
    /// Equal for what may be the same collective.
    token: u32,
    /// Equal for kernels of one name.
    name: u32,
    /// Whether more is said of it than its name.
    is_said: bool,
    start_ps: i64,
    end_ps: i64,
    /// How many members it has at most, where the trace says it.
    most: Option<u64>,
    /// Whether the token names one collective, by its number.
    is_numbered: bool,
}

/// Puts recordings together. One recording of several devices is matched within itself.
///
/// # Errors
///
/// When two files say that they are the same rank, or there are none.
pub fn join(recordings: Vec<Recording>) -> Result<Joined, TraceError> {
    let ranks = ranks(&recordings)?;
    let base_ns = recordings.iter().map(|recording| recording.origin_ns).min().unwrap_or(0);
    let mut events = events(&recordings, base_ns);
    let clocks = clocks(&events, recordings.len());
    for event in &mut events {
        let offset_ps = clocks[event.file].offset_ps;
        event.start_ps = event.start_ps.saturating_sub(offset_ps);
        event.end_ps = event.end_ps.saturating_sub(offset_ps);
    }
    let told = clocks.iter().zip(&recordings);
    let files: Vec<FileClock> = told
        .map(|(clock, recording)| FileClock {
            file: recording.sources.first().map(|source| source.file.clone()).unwrap_or_default(),
            offset_ns: clock.offset_ps / 1000,
            spread_ns: clock.spread_ps / 1000,
            agreeing: clock.agreeing,
            is_aligned: clock.is_aligned,
        })
        .collect();
    events.retain(|event| clocks[event.file].is_aligned);
    let found = attach::attach(&events, meet::meetings(&events));
    let offsets_ns: Vec<i64> = files.iter().map(|clock| clock.offset_ns).collect();
    let merged = merge::merge(recordings, &ranks, &offsets_ns);
    Ok(with_meetings(merged, files, &events, &found))
}

/// Clocks by all that is said of collectives; where files do not say the same, by their kernels.
fn clocks(events: &[Event], file_count: usize) -> Vec<clock::Clock> {
    let clocks = clock::align(events, file_count);
    let aligned = |clocks: &[clock::Clock]| clocks.iter().filter(|it| it.is_aligned).count();
    if aligned(&clocks) == file_count || events.iter().all(|event| event.is_said) {
        return clocks;
    }
    let by_name: Vec<Event> =
        events.iter().map(|event| Event { token: event.name, ..*event }).collect();
    let others = clock::align(&by_name, file_count);
    if aligned(&others) > aligned(&clocks) { others } else { clocks }
}

/// Ranks of all processes, by file. Files that say none take the lowest numbers left, in order.
fn ranks(recordings: &[Recording]) -> Result<Vec<Vec<u64>>, TraceError> {
    let refused =
        |file: &str, what: String| TraceError { file: file.to_owned(), offset: None, what };
    if recordings.is_empty() {
        return Err(refused("traces", "there are none to join".to_owned()));
    }
    let mut taken: FxHashMap<u64, &str> = FxHashMap::default();
    for source in recordings.iter().flat_map(|recording| &recording.sources) {
        let Some(rank) = source.rank else { continue };
        if let Some(other) = taken.insert(rank, &source.file) {
            let what =
                format!("says that it is rank {rank}, as {other} does; wants one file a rank");
            return Err(refused(&source.file, what));
        }
    }
    let mut free = (0..).filter(|rank| !taken.contains_key(rank));
    let number = |rank: Option<u64>, free: &mut dyn Iterator<Item = u64>| {
        rank.or_else(|| free.next()).unwrap_or(u64::MAX)
    };
    let of_file = |recording: &Recording, free: &mut dyn Iterator<Item = u64>| {
        recording.sources.iter().map(|source| number(source.rank, free)).collect()
    };
    Ok(recordings.iter().map(|recording| of_file(recording, &mut free)).collect())
}

/// All collectives, in order of their files, on the files' clocks from `base_ns` on.
fn events(recordings: &[Recording], base_ns: i64) -> Vec<Event> {
    let mut tokens: FxHashMap<String, u32> = FxHashMap::default();
    let mut number = |text: String| {
        let count = tokens.len() as u32;
        *tokens.entry(text).or_insert(count)
    };
    let repeated = repeated(recordings);
    let mut events = Vec::new();
    for (file, recording) in recordings.iter().enumerate() {
        let shift_ps = recording.origin_ns.saturating_sub(base_ns).saturating_mul(1000);
        let time = |ps: u64| shift_ps.saturating_add(i64::try_from(ps).unwrap_or(i64::MAX));
        for said in &recording.communications {
            let span = &recording.timeline.spans[said.span.0 as usize];
            let numbered = numbered(recording, said).filter(|token| !repeated.contains(token));
            let is_numbered = numbered.is_some();
            let token = number(numbered.unwrap_or_else(|| unnumbered(recording, said)));
            let pair = said.kind == Some(CollectiveKind::SendReceive) && said.bytes.is_some();
            events.push(Event {
                file,
                process: span.process,
                span: said.span,
                token,
                name: number(recording.name(said.span).to_owned()),
                is_said: said.bytes.is_some()
                    || said.communicator.is_some()
                    || said.group_size.is_some(),
                start_ps: time(span.ready.min(span.start).ps()),
                end_ps: time(span.end.ps()),
                most: if pair { Some(2) } else { said.group_size },
                is_numbered,
            });
        }
    }
    events
}

/// What members of one collective have in common where it has a number in its communicator. A rank
/// numbers its own sends and receives, so a number is no message's.
fn numbered(recording: &Recording, said: &Communication) -> Option<String> {
    let (sequence, communicator) = (said.sequence?, said.communicator?);
    if said.kind == Some(CollectiveKind::SendReceive) {
        return None;
    }
    let (group, ranks) = (recording.timeline.labels.name(communicator), ranks_of(recording, said));
    Some(format!("{group}\n{ranks}\n{:?}\n{:?}\n{sequence}", said.kind, said.group_size))
}

/// Numbers that name several collectives of a process, and so none.
fn repeated(recordings: &[Recording]) -> FxHashSet<String> {
    let mut twice = FxHashSet::default();
    for recording in recordings {
        let mut met: FxHashSet<(u32, String)> = FxHashSet::default();
        for said in &recording.communications {
            let process = recording.timeline.spans[said.span.0 as usize].process;
            let Some(token) = numbered(recording, said) else { continue };
            if !met.insert((process, token.clone())) {
                twice.insert(token);
            }
        }
    }
    twice
}

fn ranks_of<'a>(recording: &'a Recording, said: &Communication) -> &'a str {
    said.ranks.map_or("", |ranks| recording.timeline.labels.name(ranks))
}

/// What members have in common as far as the trace says it: communicator, operation, the kernel and
/// the size. What is exchanged all to all differs in size from member to member.
fn unnumbered(recording: &Recording, said: &Communication) -> String {
    let group = said.communicator.map_or("", |label| recording.timeline.labels.name(label));
    let (kind, size, ranks) = (said.kind, said.group_size, ranks_of(recording, said));
    let differs = matches!(kind, Some(CollectiveKind::AllToAll | CollectiveKind::SendReceive));
    let bytes = said.bytes.filter(|_| !differs).map(|bytes| bytes.value().to_bits());
    format!("{group}\n{ranks}\n{kind:?}\n{size:?}\n{bytes:?}\n{}", recording.name(said.span))
}

/// Writes meetings into the merged recording, and when each last member arrived into its members.
fn with_meetings(
    merged: merge::Merged,
    clocks: Vec<FileClock>,
    events: &[Event],
    found: &[Vec<usize>],
) -> Joined {
    let mut recording = merged.recording;
    let mut members = vec![(0, 0); recording.sources.len()];
    for said in &recording.communications {
        members[recording.timeline.spans[said.span.0 as usize].process as usize].1 += 1;
    }
    let said: FxHashMap<SpanId, usize> =
        recording.communications.iter().enumerate().map(|(at, said)| (said.span, at)).collect();
    let unnamed = recording.timeline.labels.intern("communicator without a name");
    let mut counts: FxHashMap<_, u32> = FxHashMap::default();
    for meeting in found {
        let mut spans: Vec<SpanId> = meeting
            .iter()
            .map(|&event| merged.spans[events[event].file][events[event].span.0 as usize])
            .collect();
        let timeline = &mut recording.timeline;
        spans.sort_by_key(|span| timeline.spans[span.0 as usize].process);
        let arrived = spans.iter().map(|span| timeline.spans[span.0 as usize].start).max();
        for member in &spans {
            let span = &mut timeline.spans[member.0 as usize];
            span.ready = span.start;
            span.start = arrived.unwrap_or(span.start).min(span.end);
            members[span.process as usize].0 += 1;
        }
        let named = recording.communications[said[&spans[0]]].communicator.unwrap_or(unnamed);
        let processes: BTreeSet<u32> =
            spans.iter().map(|span| timeline.spans[span.0 as usize].process).collect();
        let count = counts.entry((named, processes)).or_default();
        timeline.meetings.push(Meeting { communicator: named, sequence: *count, members: spans });
        *count += 1;
    }
    Joined { recording, clocks, members }
}
