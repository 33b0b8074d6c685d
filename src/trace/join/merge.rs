//! Tables of several recordings as one.

use rustc_hash::FxHashMap;

use crate::timeline::{Arrow, LabelId, SpanId, Timeline};
use crate::trace::Recording;
use crate::units::Instant;

/// All recordings as one.
pub(super) struct Merged {
    pub(super) recording: Recording,
    /// Where each span went, by file.
    pub(super) spans: Vec<Vec<SpanId>>,
}

/// How the numbers of one file become those of all.
struct Places {
    shift_ps: u64,
    processes: Vec<u32>,
    labels: FxHashMap<LabelId, LabelId>,
    spans: Vec<SpanId>,
}

impl Places {
    fn time(&self, at: Instant) -> Instant {
        Instant::from_ps(at.ps().saturating_add(self.shift_ps))
    }

    fn process(&self, process: u32) -> u32 {
        self.processes[process as usize]
    }

    fn span(&self, span: SpanId) -> SpanId {
        self.spans[span.0 as usize]
    }

    fn label(&mut self, label: LabelId, from: &Timeline, to: &mut Timeline) -> LabelId {
        *self.labels.entry(label).or_insert_with(|| to.labels.intern(from.labels.name(label)))
    }
}

/// Merges; `ranks` by file and process, `offsets_ns` what is taken off each file's times.
pub(super) fn merge(
    mut recordings: Vec<Recording>,
    ranks: &[Vec<u64>],
    offsets_ns: &[i64],
) -> Merged {
    let mut joint = Recording::default();
    let origins: Vec<i64> = recordings
        .iter()
        .zip(offsets_ns)
        .map(|(recording, offset)| recording.origin_ns.saturating_sub(*offset))
        .collect();
    joint.origin_ns = origins.iter().copied().min().unwrap_or(0);
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (file, ranks) in ranks.iter().enumerate() {
        order.extend(ranks.iter().enumerate().map(|(process, &rank)| (rank, file, process)));
    }
    order.sort_unstable();
    let mut places: Vec<Places> = recordings
        .iter()
        .zip(&origins)
        .map(|(recording, origin)| Places {
            shift_ps: origin.saturating_sub(joint.origin_ns).unsigned_abs().saturating_mul(1000),
            processes: vec![0; recording.sources.len()],
            labels: FxHashMap::default(),
            spans: vec![SpanId(0); recording.timeline.spans.len()],
        })
        .collect();
    for (now, &(rank, file, process)) in (0..).zip(&order) {
        places[file].processes[process] = now;
        joint.sources.push(std::mem::take(&mut recordings[file].sources[process]));
        let mut process = recordings[file].timeline.processes[process].clone();
        process.rank = rank;
        joint.timeline.processes.push(process);
    }
    spans(&mut recordings, &mut places, &mut joint);
    for (recording, places) in recordings.iter_mut().zip(&mut places) {
        happened(recording, places, &mut joint);
        told(recording, places, &mut joint);
        joint.partial.append(&mut recording.partial);
    }
    frames(&recordings, &mut places, &mut joint);
    joint.waits.sort_by_key(|wait| (wait.at, wait.call));
    joint.synchronized.sort_by_key(|it| it.call);
    joint.communications.sort_by_key(|it| it.span);
    let timeline = &mut joint.timeline;
    timeline.memory.sort_by_key(|sample| (sample.process, sample.at));
    timeline.lane_names.sort_unstable();
    timeline.steps.sort_by_key(|step| (step.process, step.start));
    timeline.arrows.sort_by_key(|arrow| (arrow.to, arrow.from));
    Merged { recording: joint, spans: places.into_iter().map(|places| places.spans).collect() }
}

/// Spans of all files in order of their starts, and where each went.
fn spans(recordings: &mut [Recording], places: &mut [Places], joint: &mut Recording) {
    let mut order: Vec<(Instant, usize, u32)> = Vec::new();
    for (file, (recording, places)) in recordings.iter().zip(&*places).enumerate() {
        let starts = recording.timeline.spans.iter().map(|span| places.time(span.start));
        order.extend(starts.zip(0..).map(|(start, index)| (start, file, index)));
    }
    order.sort_unstable();
    for (now, &(_, file, index)) in (0..).zip(&order) {
        places[file].spans[index as usize] = SpanId(now);
    }
    for &(start, file, index) in &order {
        let (from, places) = (&recordings[file].timeline, &mut places[file]);
        let mut span = from.spans[index as usize].clone();
        span.label = places.label(span.label, from, &mut joint.timeline);
        span.process = places.process(span.process);
        span.start = start;
        span.end = places.time(span.end);
        span.ready = places.time(span.ready);
        span.launched = places.time(span.launched);
        joint.timeline.spans.push(span);
        let launched = recordings[file].launched_by.get(index as usize).copied().flatten();
        joint.launched_by.push(launched.map(|call| places.span(call)));
        joint.grids.push(recordings[file].grids.get(index as usize).copied().flatten());
    }
    for recording in recordings {
        recording.timeline.spans = Vec::new();
        recording.launched_by = Vec::new();
    }
}

/// What the timeline has beside spans and frames.
fn happened(recording: &mut Recording, places: &mut Places, joint: &mut Recording) {
    let from = &recording.timeline;
    let to = &mut joint.timeline;
    to.arrows.extend(
        from.arrows
            .iter()
            .map(|arrow| Arrow { from: places.span(arrow.from), to: places.span(arrow.to) }),
    );
    to.memory.extend(from.memory.iter().map(|sample| {
        let mut sample = *sample;
        sample.process = places.process(sample.process);
        sample.at = places.time(sample.at);
        sample
    }));
    to.steps.extend(from.steps.iter().map(|step| {
        let mut step = *step;
        step.process = places.process(step.process);
        step.start = places.time(step.start);
        step.end = places.time(step.end);
        step
    }));
    for &(process, lane, name) in &from.lane_names {
        let name = places.label(name, from, to);
        to.lane_names.push((places.process(process), lane, name));
    }
}

/// What only a recording knows.
fn told(recording: &mut Recording, places: &mut Places, joint: &mut Recording) {
    for mut wait in std::mem::take(&mut recording.waits) {
        wait.process = places.process(wait.process);
        wait.call = wait.call.map(|call| places.span(call));
        wait.at = places.time(wait.at);
        if let Some(target) = &mut wait.target {
            target.record = target.record.map(|call| places.span(call));
        }
        joint.waits.push(wait);
    }
    for mut synchronized in std::mem::take(&mut recording.synchronized) {
        synchronized.call = places.span(synchronized.call);
        let record = synchronized.target.record;
        synchronized.target.record = record.map(|call| places.span(call));
        joint.synchronized.push(synchronized);
    }
    for mut said in std::mem::take(&mut recording.communications) {
        said.span = places.span(said.span);
        let mut named = |label: Option<LabelId>| {
            label.map(|label| places.label(label, &recording.timeline, &mut joint.timeline))
        };
        said.dtype = named(said.dtype);
        said.communicator = named(said.communicator);
        said.ranks = named(said.ranks);
        joint.communications.push(said);
    }
}

/// Frames by process and thread, and the operators behind them.
fn frames(recordings: &[Recording], places: &mut [Places], joint: &mut Recording) {
    let mut order: Vec<(u32, u32, usize, usize)> = Vec::new();
    for (file, recording) in recordings.iter().enumerate() {
        let frames = recording.timeline.frames.iter().enumerate();
        order.extend(frames.map(|(index, frame)| {
            (places[file].process(frame.process), frame.thread, file, index)
        }));
    }
    order.sort_unstable();
    let mut now: Vec<Vec<u32>> =
        recordings.iter().map(|recording| vec![0; recording.timeline.frames.len()]).collect();
    for (place, &(process, _, file, index)) in (0..).zip(&order) {
        now[file][index] = place;
        let from = &recordings[file].timeline;
        let mut frame = from.frames[index];
        frame.process = process;
        frame.start = places[file].time(frame.start);
        frame.end = places[file].time(frame.end);
        frame.label = places[file].label(frame.label, from, &mut joint.timeline);
        joint.timeline.frames.push(frame);
    }
    for (recording, now) in recordings.iter().zip(&now) {
        joint.operators.extend(recording.operators.iter().map(|operator| {
            let mut operator = operator.clone();
            operator.frame = now[operator.frame as usize];
            operator
        }));
    }
    joint.operators.sort_by_key(|operator| operator.frame);
}
