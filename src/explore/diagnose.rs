//! Diagnosis: what slows a recorded step down, with evidence, what it would be worth to remove it,
//! and the cheapest experiment that tells whether it is so.
//!
//! Causes are looked for in the timeline; each comes with the edit that would remove it
//! ([`super::what_if`]). What it is worth is what the engine says when it runs the edited step, not
//! the sum of what was found.

mod contention;
mod device;
mod frames;
mod host;
mod suspicion;

use super::what_if::{
    Change, Selection, apply, editable, measured_us, remove_between, step_count, step_us,
};
use crate::analysis::{Diagnosis, Hypothesis, idle_stretches};
use crate::replay::{Prepared, run};
use crate::sim::SimError;
use crate::spec::DataSources;
use crate::trace::Recording;
use suspicion::{Removal, Suspicion};

/// Share of a step below which a cause is not worth a replay.
const FOUND_LEAST: f64 = 0.005;
/// Causes that are replayed at most, those with most time found first.
const REPLAYED_MOST: usize = 16;

/// What slows a recorded step down, the dearest first. What a cause costs is what its removal is
/// worth; where the edit removes more than the cause, the time found is the most that it costs.
///
/// # Errors
///
/// When the recording does not run to its end.
pub fn diagnose(recording: &Recording, sources: &DataSources) -> Result<Diagnosis, SimError> {
    let (prepared, _) = editable(recording)?;
    let base = run(&prepared)?;
    let replayed_us = step_us(&prepared, &base);
    let slowest = base
        .ranks
        .iter()
        .max_by(|left, right| left.window.measured_us.total_cmp(&right.window.measured_us));
    let steps = step_count(&prepared);
    let measured_us = measured_us(&prepared);
    let frames = frames::Frames::of(&recording.timeline);
    let gaps = idle_stretches(&recording.timeline);
    let scene = host::Scene { recording, frames: &frames, gaps: &gaps };
    let mut suspicions = host::suspicions(&scene);
    suspicions.extend(device::suspicions(recording));
    suspicions.extend(contention::suspicions(recording));
    for suspicion in &mut suspicions {
        suspicion.found_us /= steps;
    }
    suspicions.retain(|one| one.found_us >= FOUND_LEAST * measured_us && one.found_us > 0.0);
    suspicions.sort_by(|left, right| right.found_us.total_cmp(&left.found_us));
    suspicions.truncate(REPLAYED_MOST);
    let mut warnings = base.warnings;
    let mut ranked: Vec<(f64, Hypothesis)> = Vec::new();
    for suspicion in suspicions {
        let worth_us = worth(&prepared, &suspicion, sources, replayed_us)
            .map_err(|why| warnings.push(format!("{}: {why}", suspicion.cause.name())))
            .ok();
        let cost_us = suspicion.removal.cost_us(suspicion.found_us, worth_us);
        ranked.push((cost_us, hypothesis(suspicion, worth_us, measured_us, replayed_us)));
    }
    ranked.sort_by(|left, right| {
        let found = |one: &(f64, Hypothesis)| one.1.found_us;
        right.0.total_cmp(&left.0).then(found(right).total_cmp(&found(left)))
    });
    let hypotheses = ranked.into_iter().map(|one| one.1).collect();
    let unexplained_fraction = slowest.map_or(0.0, |rank| rank.window.unexplained_fraction);
    Ok(Diagnosis { measured_us, replayed_us, unexplained_fraction, hypotheses, warnings })
}

/// What a step saves without a cause.
fn worth(
    prepared: &Prepared<'_>,
    suspicion: &Suspicion,
    sources: &DataSources,
    replayed_us: f64,
) -> Result<f64, String> {
    let mut edited = prepared.clone();
    match &suspicion.removal {
        Removal::Exact(text) | Removal::Broader(text) => {
            let change = Change::parse(text).map_err(|error| error.to_string())?;
            apply(&mut edited, &change, sources)
                .map_err(|what| format!("change `{text}`: {what}"))?;
        }
        Removal::HostTime(stretches) => {
            let selection = Selection::of_stretches(prepared.recording, stretches.iter().copied());
            remove_between(&mut edited, &selection);
        }
    }
    let after = run(&edited).map_err(|error| error.to_string())?;
    Ok(replayed_us - step_us(&edited, &after))
}

fn hypothesis(
    suspicion: Suspicion,
    worth_us: Option<f64>,
    measured_us: f64,
    replayed_us: f64,
) -> Hypothesis {
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Hypothesis {
        cause: suspicion.cause,
        what: suspicion.what,
        found_us: suspicion.found_us,
        found_fraction: share(suspicion.found_us, measured_us),
        worth_us,
        worth_fraction: worth_us.map(|worth| share(worth, replayed_us)),
        change: suspicion.removal.change().map(str::to_owned),
        evidence: suspicion.evidence,
        experiment: suspicion.experiment,
    }
}
