//! Spans by process, and which call launched what.

use crate::timeline::{Frame, Lane, Span, StepMark, Timeline};

/// What one process did.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Work<'a> {
    pub(in crate::analysis) timeline: &'a Timeline,
    /// Index of the process.
    pub(in crate::analysis) process: u32,
    /// Work of its device by start, each with the index of its span.
    pub(in crate::analysis) device: Vec<(u32, &'a Span)>,
    /// Calls of its host by start.
    pub(in crate::analysis) calls: Vec<(u32, &'a Span)>,
    /// What its threads were inside of.
    pub(in crate::analysis) frames: &'a [Frame],
    /// Steps that are marked, by start.
    pub(in crate::analysis) steps: Vec<StepMark>,
    /// Device work that was launched by a call, `(call, work)` as indices of spans, by call.
    pub(in crate::analysis) launches: Vec<(u32, u32)>,
    /// The same, `(work, call)`, by work.
    pub(in crate::analysis) launched_by: Vec<(u32, u32)>,
}

/// Each process of the timeline.
pub(in crate::analysis) fn works(timeline: &Timeline) -> Vec<Work<'_>> {
    let work = |process| Work {
        timeline,
        process,
        device: Vec::new(),
        calls: Vec::new(),
        frames: frames_of(timeline, process),
        steps: Vec::new(),
        launches: Vec::new(),
        launched_by: Vec::new(),
    };
    let mut works: Vec<Work<'_>> = (0..timeline.processes.len() as u32).map(work).collect();
    for (index, span) in (0..).zip(&timeline.spans) {
        let Some(work) = works.get_mut(span.process as usize) else { continue };
        if !span.lane.is_host() {
            work.device.push((index, span));
        } else if span.call.is_some() {
            work.calls.push((index, span));
        }
    }
    for step in &timeline.steps {
        if let Some(work) = works.get_mut(step.process as usize) {
            work.steps.push(*step);
        }
    }
    for arrow in &timeline.arrows {
        let (from, to) = (arrow.from.0, arrow.to.0);
        let ends = [from, to].map(|id| timeline.spans.get(id as usize));
        let [Some(call), Some(launched)] = ends else { continue };
        let Some(work) = works.get_mut(launched.process as usize) else { continue };
        if call.lane.is_host() && !launched.lane.is_host() {
            work.launches.push((from, to));
            work.launched_by.push((to, from));
        }
    }
    for work in &mut works {
        work.device.sort_by_key(|(_, span)| span.occupied().0);
        work.calls.sort_by_key(|(_, span)| span.start);
        work.steps.sort_by_key(|step| (step.start, step.end));
        work.launches.sort_unstable();
        work.launched_by.sort_unstable();
    }
    works
}

/// Frames of a process; they are in order of processes.
fn frames_of(timeline: &Timeline, process: u32) -> &[Frame] {
    let from = timeline.frames.partition_point(|frame| frame.process < process);
    let count = timeline.frames[from..].partition_point(|frame| frame.process == process);
    &timeline.frames[from..from + count]
}

impl<'a> Work<'a> {
    /// Work of the device, by start.
    pub(in crate::analysis) fn device(&self) -> impl Iterator<Item = &'a Span> + Clone {
        self.device.iter().map(|(_, span)| *span)
    }

    /// Name of a span.
    pub(in crate::analysis) fn name(&self, span: &Span) -> &'a str {
        self.timeline.labels.name(span.label)
    }

    /// Name of a lane, where the recording gives one.
    pub(in crate::analysis) fn lane_name(&self, lane: Lane) -> Option<&'a str> {
        let named = self.timeline.lane_names.iter();
        let named = named.filter(|it| (it.0, it.1) == (self.process, lane));
        named.map(|it| self.timeline.labels.name(it.2)).next()
    }

    /// The call that launched device work.
    pub(in crate::analysis) fn call_of(&self, work: u32) -> Option<&'a Span> {
        let at = self.launched_by.partition_point(|&(launched, _)| launched < work);
        let &(_, call) = self.launched_by.get(at).filter(|it| it.0 == work)?;
        self.timeline.spans.get(call as usize)
    }

    /// What a call launched, in order of indices.
    pub(in crate::analysis) fn launched(&self, call: u32) -> impl Iterator<Item = &'a Span> {
        let at = self.launches.partition_point(|&(from, _)| from < call);
        let of_call = self.launches[at..].iter().take_while(move |it| it.0 == call);
        of_call.filter_map(|&(_, work)| self.timeline.spans.get(work as usize))
    }

    /// The marked step in which a moment lies.
    pub(in crate::analysis) fn step_at(&self, at: crate::units::Instant) -> Option<usize> {
        let index = self.steps.partition_point(|step| step.start <= at).checked_sub(1)?;
        (at < self.steps[index].end).then_some(index)
    }

    /// The step to which device work belongs: the one in which it was launched; of work without a
    /// launch the one in which it began.
    pub(in crate::analysis) fn step_of(&self, index: u32, span: &Span) -> Option<usize> {
        self.step_at(self.call_of(index).map_or(span.occupied().0, |call| call.start))
    }
}
