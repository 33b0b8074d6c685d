//! Marked steps of a replayed timeline: from the first call of each step to the last.

use std::collections::BTreeMap;

use super::Prepared;
use super::build::HostWork;
use crate::sim::Origin;
use crate::timeline::{StepMark, Timeline};
use crate::units::Instant;

/// Marks the steps of the recording where their calls were replayed. A step ends no later than the
/// next begins.
pub(super) fn mark_steps(prepared: &Prepared<'_>, origins: &[Origin], timeline: &mut Timeline) {
    let recorded = &prepared.recording.timeline;
    let mut marks: BTreeMap<(u32, u64), StepMark> = BTreeMap::new();
    for (span, origin) in timeline.spans.iter().zip(origins) {
        let Origin::Step { thread, step } = *origin else { continue };
        let place = prepared.places[span.process as usize][thread as usize][step as usize];
        let HostWork::Call(call) = place.work else { continue };
        let (process, at) = (span.process, recorded.spans[call.0 as usize].start);
        let mut steps = recorded.steps.iter();
        let holds = |step: &&StepMark| step.process == process && step.start <= at && at < step.end;
        let Some(found) = steps.find(holds) else { continue };
        // A call may take no time, and is still in its step.
        let (start, end) = (span.start, span.end.max(Instant::from_ps(span.start.ps() + 1000)));
        let mark =
            marks.entry((process, found.number)).or_insert(StepMark { start, end, ..*found });
        mark.start = mark.start.min(start);
        mark.end = mark.end.max(end);
    }
    let mut steps: Vec<StepMark> = marks.into_values().collect();
    steps.sort_by_key(|step| (step.process, step.start));
    for index in 1..steps.len() {
        let (before, next) = (steps[index - 1], steps[index]);
        if before.process == next.process && next.start > before.start {
            steps[index - 1].end = before.end.min(next.start);
        }
    }
    timeline.steps = steps;
}
