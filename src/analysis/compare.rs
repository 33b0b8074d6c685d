//! Several predictions side by side: which is best, and why, in numbers.

use serde::Serialize;

use super::Summary;
use crate::work::Axis;

/// One of the things to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Name for people.
    pub name: String,
    /// Its prediction, or why there is none.
    pub outcome: Result<Summary, String>,
}

/// Candidates, best first: those that fit by tokens a second and GPU, then those that do not fit,
/// then those without a prediction; each in the order given where nothing else decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// One a candidate.
    pub rows: Vec<ComparisonRow>,
}

/// A candidate in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// Name for people.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It can run.
    Fits(Box<Predicted>),
    /// It needs more memory than there is; its numbers say what it would do with enough.
    DoesNotFit(Box<Predicted>),
    /// There is no prediction.
    Invalid {
        /// Why.
        reason: String,
    },
}

/// The numbers of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// Length of the step.
    pub step_time_s: f64,
    /// Tokens a second and GPU.
    pub tokens_per_s_per_gpu: f64,
    /// Model arithmetic over the peak.
    pub mfu: f64,
    /// What the allocator of the fullest stage reserves.
    pub peak_reserved_bytes: u64,
    /// Memory of a GPU.
    pub capacity_bytes: u64,
    /// Stage that reserves most.
    pub fullest_stage: u64,
    /// What takes most time beside compute; absent when nothing does.
    pub largest_loss: Option<Loss>,
    /// How each part of the step differs from the best candidate's; empty for the best.
    pub differences: Vec<Difference>,
}

/// Time beside compute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// What it is.
    pub part: &'static str,
    /// How long in a step.
    pub time_s: f64,
    /// Which share of the step.
    pub fraction: f64,
}

/// How much more time than the best candidate a part takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// What it is.
    pub part: &'static str,
    /// Seconds more (or fewer, negative) for the work of one step of the best candidate: where
    /// tokens a step and GPU differ, times are scaled to equal work.
    pub time_s: f64,
}

/// Orders candidates and says what tells them apart.
pub fn compare(candidates: Vec<Candidate>) -> Comparison {
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by(|left, right| {
        let speed = |candidate: &Candidate| {
            candidate.outcome.as_ref().map_or(0.0, |summary| summary.tokens_per_s_per_gpu)
        };
        rank(left).cmp(&rank(right)).then(speed(right).total_cmp(&speed(left)))
    });
    let best = order.first().and_then(|candidate| candidate.outcome.as_ref().ok());
    let row = |(index, candidate): (usize, &&Candidate)| ComparisonRow {
        name: candidate.name.clone(),
        outcome: match &candidate.outcome {
            Err(reason) => Outcome::Invalid { reason: reason.clone() },
            Ok(summary) => {
                let against = if index == 0 { None } else { best };
                let predicted = Box::new(predicted(summary, against));
                match summary.memory.fits {
                    true => Outcome::Fits(predicted),
                    false => Outcome::DoesNotFit(predicted),
                }
            }
        },
    };
    Comparison { rows: order.iter().enumerate().map(row).collect() }
}

fn rank(candidate: &Candidate) -> u8 {
    match &candidate.outcome {
        Ok(summary) if summary.memory.fits => 0,
        Ok(_) => 1,
        Err(_) => 2,
    }
}

fn predicted(summary: &Summary, best: Option<&Summary>) -> Predicted {
    let stages = &summary.memory.stages;
    let fullest = stages
        .iter()
        .rev()
        .max_by(|a, b| a.peak_reserved.value().total_cmp(&b.peak_reserved.value()));
    Predicted {
        step_time_s: summary.step_time_s,
        tokens_per_s_per_gpu: summary.tokens_per_s_per_gpu,
        mfu: summary.mfu,
        peak_reserved_bytes: summary.memory.peak_reserved_bytes,
        capacity_bytes: summary.memory.capacity_bytes,
        fullest_stage: fullest.map_or(0, |stage| stage.stage),
        largest_loss: largest_loss(summary),
        differences: best.map_or_else(Vec::new, |best| differences(summary, best)),
    }
}

/// The parts of a step, compute first; they sum to the step time.
fn parts(summary: &Summary) -> Vec<(&'static str, f64)> {
    let exposed = |axis: Axis| {
        summary.communication.get(axis.name()).map_or(0.0, |communication| communication.exposed_s)
    };
    vec![
        ("compute", summary.time.compute_s),
        ("tp communication", exposed(Axis::Tp)),
        ("dp communication", exposed(Axis::Dp)),
        ("pp communication", exposed(Axis::Pp)),
        ("cp communication", exposed(Axis::Cp)),
        ("ep communication", exposed(Axis::Ep)),
        ("bubble", summary.time.bubble_s),
        ("host-bound", summary.time.host_bound_s),
        ("optimizer", summary.time.optimizer_s),
        ("other", summary.time.other_s),
    ]
}

fn largest_loss(summary: &Summary) -> Option<Loss> {
    let losses = parts(summary).into_iter().skip(1).rev();
    let (part, time_s) = losses.max_by(|left, right| left.1.total_cmp(&right.1))?;
    let fraction = time_s / summary.step_time_s;
    (time_s > 0.0).then_some(Loss { part, time_s, fraction })
}

fn differences(summary: &Summary, best: &Summary) -> Vec<Difference> {
    let tokens = |summary: &Summary| summary.tokens_per_s_per_gpu * summary.step_time_s;
    let scale = if tokens(summary) > 0.0 { tokens(best) / tokens(summary) } else { 1.0 };
    let pairs = parts(summary).into_iter().zip(parts(best));
    pairs
        .map(|((part, time), (_, best))| Difference { part, time_s: time * scale - best })
        .filter(|difference| difference.time_s != 0.0)
        .collect()
}
