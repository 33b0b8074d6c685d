//! Steps that a recording marks.

use serde::Serialize;

use super::{Occupancy, Work};
use crate::timeline::Span;
use crate::units::Picoseconds;

/// Where the time of a step went: of the device work that was launched in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepProfile {
    /// Number that the recording gives it.
    pub step: u64,
    /// How long it took on the host.
    #[serde(rename = "host_us")]
    pub host: Picoseconds,
    /// From the first work of this step to the first of the next one; of the last step to the end
    /// of its work.
    #[serde(rename = "period_us")]
    pub period: Picoseconds,
    /// What the device was busy with.
    #[serde(flatten)]
    pub occupancy: Occupancy,
    /// Kernels, copies and fills.
    pub gpu_events: u64,
}

pub(in crate::analysis) fn steps(work: &Work<'_>) -> Vec<StepProfile> {
    let mut of_step: Vec<Vec<&Span>> = vec![Vec::new(); work.steps.len()];
    for &(index, span) in &work.device {
        if let Some(step) = work.step_of(index, span) {
            of_step[step].push(span);
        }
    }
    let first = |step: &Vec<&Span>| step.iter().map(|span| span.occupied().0).min();
    let starts: Vec<_> = of_step.iter().map(first).collect();
    let profile = |(index, step): (usize, &Vec<&Span>)| {
        let occupancy = Occupancy::of(step.iter().copied());
        let next = starts[index + 1..].iter().flatten().next();
        let period = match (starts[index], next) {
            (Some(start), Some(&next)) => Picoseconds::between(start, next),
            _ => occupancy.window,
        };
        StepProfile {
            step: work.steps[index].number,
            host: Picoseconds::between(work.steps[index].start, work.steps[index].end),
            period,
            occupancy,
            gpu_events: step.len() as u64,
        }
    };
    of_step.iter().enumerate().map(profile).collect()
}
