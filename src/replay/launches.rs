//! Device work in the order in which it was put on its streams.

use std::collections::BTreeMap;

use crate::timeline::{Lane, Span, SpanId};
use crate::trace::Recording;

/// A piece of device work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) span: SpanId,
    pub(super) process: u32,
    /// Number of the stream, as in `Lane::Stream`.
    pub(super) stream: u32,
    /// Start and end on the device, in picoseconds; for collectives the arrival of this member.
    pub(super) start: u64,
    pub(super) end: u64,
    /// The call that launched it.
    pub(super) call: Option<SpanId>,
    /// When it was put on its stream: the start of its call; of work without a call no later than
    /// what follows on the stream.
    pub(super) put: u64,
}

/// All device work of a recording.
#[derive(Debug)]
pub(super) struct Launches {
    /// In order of being put on streams.
    pub(super) works: Vec<Work>,
    /// Index into `works` by index of the span.
    pub(super) of_span: Vec<Option<u32>>,
    /// Indices into `works` by process and stream, in stream order.
    pub(super) streams: BTreeMap<(u32, u32), Vec<u32>>,
    /// What comes before each on its stream.
    pub(super) before: Vec<Option<u32>>,
}

impl Launches {
    pub(super) fn of(recording: &Recording) -> Self {
        let spans = &recording.timeline.spans;
        let mut works: Vec<Work> = (0..)
            .zip(spans)
            .filter_map(|(index, span)| Work::of(recording, SpanId(index), span))
            .collect();
        one_a_call(recording, &mut works);
        put_orphans(&mut works);
        works.sort_by_key(|work| (work.put, work.start, work.span));
        let mut of_span = vec![None; spans.len()];
        let mut streams: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
        let mut before = Vec::with_capacity(works.len());
        for (index, work) in (0..).zip(&works) {
            of_span[work.span.0 as usize] = Some(index);
            let stream = streams.entry((work.process, work.stream)).or_default();
            before.push(stream.last().copied());
            stream.push(index);
        }
        Self { works, of_span, streams, before }
    }

    /// The last work put on a stream before a point in time.
    pub(super) fn last_before(&self, process: u32, stream: u32, at: u64) -> Option<u32> {
        let stream = self.streams.get(&(process, stream))?;
        let count = stream.partition_point(|&work| self.works[work as usize].put < at);
        count.checked_sub(1).map(|last| stream[last])
    }

    /// Streams of a process with their work.
    pub(super) fn streams_of(&self, process: u32) -> impl Iterator<Item = (u32, &[u32])> {
        let streams = self.streams.range((process, 0)..=(process, u32::MAX));
        streams.map(|(&(_, stream), works)| (stream, works.as_slice()))
    }
}

impl Work {
    fn of(recording: &Recording, id: SpanId, span: &Span) -> Option<Self> {
        let Lane::Stream(stream) = span.lane else { return None };
        let (start, end) = span.occupied();
        let call = recording.launched_by.get(id.0 as usize).copied().flatten();
        // A call of another process cannot have put it there.
        let call =
            call.filter(|call| recording.timeline.spans[call.0 as usize].process == span.process);
        let put = call.map_or(start, |call| recording.timeline.spans[call.0 as usize].start);
        Some(Self {
            span: id,
            process: span.process,
            stream,
            start: start.ps(),
            end: end.ps(),
            call,
            put: put.ps().min(start.ps()),
        })
    }
}

/// A call launches one piece of work, but for graphs. Of several that bear its correlation the
/// first is its own; recorders reuse numbers, and nobody knows what launched the others.
fn one_a_call(recording: &Recording, works: &mut [Work]) {
    let mut first: BTreeMap<SpanId, (u64, SpanId)> = BTreeMap::new();
    for work in works.iter() {
        if let Some(call) = work.call {
            let this = (work.start, work.span);
            let known = first.entry(call).or_insert(this);
            *known = this.min(*known);
        }
    }
    for work in works.iter_mut() {
        let Some(call) = work.call else { continue };
        if first[&call].1 != work.span && !recording.name(call).contains("Graph") {
            work.call = None;
            work.put = work.start;
        }
    }
}

/// Work without a call was put on its stream before what ran after it there.
fn put_orphans(works: &mut [Work]) {
    let mut order: Vec<usize> = (0..works.len()).collect();
    order.sort_by_key(|&index| (works[index].process, works[index].stream, works[index].start));
    let mut next: Option<(u32, u32, u64)> = None;
    for &index in order.iter().rev() {
        let work = &mut works[index];
        if let Some((process, stream, put)) = next
            && (process, stream) == (work.process, work.stream)
            && work.call.is_none()
        {
            work.put = work.put.min(put);
        }
        next = Some((work.process, work.stream, work.put));
    }
}
