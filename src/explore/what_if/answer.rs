//! The answer: each change by itself, and all of them together.

use super::interference::take_apart;
use super::{Change, apply};
use crate::analysis::{Answer, Bottleneck, ChangeAnswer, ProfileOptions, profile};
use crate::replay::{Prepared, Replay, prepare, run};
use crate::sim::SimError;
use crate::spec::DataSources;
use crate::timeline::Span;
use crate::trace::Recording;
use crate::units::{Instant, Picoseconds};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WhatIfError {
    /// A change cannot be made.
    #[error("change `{text}`: {what}")]
    Change {
        /// As written.
        text: String,
        /// Why not.
        what: String,
    },
    /// The recording, or the edited one, does not run to its end.
    #[error(transparent)]
    Run(#[from] SimError),
}

/// What changes, each with the text it was written as, do to a recorded step; and the replay with
/// all of them.
///
/// # Errors
///
/// When a change selects nothing or cannot be made, or an edited program hangs.
pub fn what_if(
    recording: &Recording,
    changes: &[(String, Change)],
    sources: &DataSources,
) -> Result<(Answer, Replay), WhatIfError> {
    let mut prepared = prepare(recording);
    let recorded = run(&prepared)?;
    let interference = take_apart(&mut prepared, &recorded);
    let base = run(&prepared)?;
    let before_us = step_us(&prepared, &base);
    let mut alone = Vec::new();
    for change in changes {
        let mut edited = prepared.clone();
        let touched = make(&mut edited, change, sources)?;
        let after_us = step_us(&edited, &run(&edited)?);
        alone.push(ChangeAnswer {
            change: change.0.clone(),
            touched: touched.count,
            assumed: touched.assumed,
            priced: touched.priced,
            step_us: after_us,
            worth_us: before_us - after_us,
        });
    }
    let mut together = prepared.clone();
    // Kernels that one change removed may be all that another selects.
    for change in changes {
        make(&mut together, change, sources)?;
    }
    let replay = run(&together)?;
    let after_us = step_us(&together, &replay);
    let sum: f64 = alone.iter().map(|one| one.worth_us).sum();
    let answer = Answer {
        measured_us: measured_us(&prepared),
        before_us,
        after_us,
        worth_us: before_us - after_us,
        interaction_us: before_us - after_us - sum,
        worth_if_punctual_us: punctual_us(&prepared)? - punctual_us(&together)?,
        bottleneck_before: bottleneck(&base),
        bottleneck_after: bottleneck(&replay),
        changes: alone,
        interference,
        warnings: base.warnings,
    };
    Ok((answer, replay))
}

/// Time of a step in which no start is later than its known causes.
fn punctual_us(prepared: &Prepared<'_>) -> Result<f64, SimError> {
    let punctual = prepared.punctual();
    Ok(step_us(&punctual, &run(&punctual)?))
}

fn make(
    prepared: &mut Prepared<'_>,
    (text, change): &(String, Change),
    sources: &DataSources,
) -> Result<super::Touched, WhatIfError> {
    apply(prepared, change, sources)
        .map_err(|what| WhatIfError::Change { text: text.clone(), what })
}

/// Marked steps of a rank; 1 where none are marked.
pub(in crate::explore) fn step_count(prepared: &Prepared<'_>) -> f64 {
    let timeline = &prepared.recording.timeline;
    let of_first = timeline.steps.iter().filter(|step| step.process == 0).count();
    of_first.max(1) as f64
}

/// Time of a replayed step of the job: from the first work of any device to the end of the last,
/// over the marked steps in it.
pub(in crate::explore) fn step_us(prepared: &Prepared<'_>, replay: &Replay) -> f64 {
    extent_us(replay.times.iter().flatten().copied()) / step_count(prepared)
}

/// The same as it was recorded.
pub(in crate::explore) fn measured_us(prepared: &Prepared<'_>) -> f64 {
    let devices = prepared.recording.timeline.spans.iter().filter(|span| !span.lane.is_host());
    extent_us(devices.map(Span::occupied)) / step_count(prepared)
}

/// From the first start to the last end.
fn extent_us(times: impl Iterator<Item = (Instant, Instant)>) -> f64 {
    let both = times.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
    both.map_or(0.0, |(from, to)| Picoseconds::between(from, to).us())
}

/// What the slowest rank spends most of its time on.
fn bottleneck(replay: &Replay) -> Bottleneck {
    let profile = profile(&replay.timeline, &ProfileOptions::default());
    let slowest = profile
        .ranks
        .iter()
        .max_by(|left, right| left.occupancy.window.cmp(&right.occupancy.window));
    let Some(rank) = slowest else { return Bottleneck::default() };
    let us = Picoseconds::us;
    let occupancy = &rank.occupancy;
    Bottleneck::of(us(occupancy.compute), us(occupancy.exposed_communication), us(occupancy.idle))
}
