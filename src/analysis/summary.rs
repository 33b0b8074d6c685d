//! The step in numbers.

use serde::Serialize;
use std::collections::BTreeMap;

use super::account::account;
use super::{Evidence, StageMemory, StepFacts};
use crate::timeline::Timeline;

/// The step in numbers; its serialisation is the contract of `simulate --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Length of the step.
    pub step_time_s: f64,
    /// Tokens a second and GPU.
    pub tokens_per_s_per_gpu: f64,
    /// Model arithmetic a second and GPU, in 10^12.
    pub model_tflops_per_gpu: f64,
    /// Model arithmetic over the peak.
    pub mfu: f64,
    /// Arithmetic with recomputation over the peak.
    pub hfu: f64,
    /// The stage with the most busy time, which sets the pace.
    pub critical_stage: u64,
    /// The critical stage's step, told apart; sums to `step_time_s`.
    pub time: TimeSummary,
    /// Compute of the critical stage by class of work, the optimizer left out.
    pub compute: BTreeMap<&'static str, f64>,
    /// Communication of a rank of the critical stage, by axis: tp, dp, pp, cp, ep.
    pub communication: BTreeMap<&'static str, CommunicationSummary>,
    /// Memory.
    pub memory: MemorySummary,
    /// What the answer rests on.
    pub evidence: Evidence,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The critical stage's step; sums to the step time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimeSummary {
    /// Kernels but the optimizer's.
    pub compute_s: f64,
    /// Communication that compute waits for.
    pub exposed_communication_s: f64,
    /// Waiting for other stages.
    pub bubble_s: f64,
    /// Waiting for the host to launch.
    pub host_bound_s: f64,
    /// The optimizer's kernels.
    pub optimizer_s: f64,
    /// What none of these explains.
    pub other_s: f64,
}

/// Communication along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CommunicationSummary {
    /// Time during which it moves data, hidden or not.
    pub total_s: f64,
    /// Time that compute waits for it.
    pub exposed_s: f64,
    /// Bytes, as nccl-tests counts them.
    pub bytes: f64,
}

/// Memory of the GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemorySummary {
    /// Of one GPU.
    pub capacity_bytes: u64,
    /// Of the fullest stage.
    pub peak_bytes: u64,
    /// What the allocator of the fullest stage has reserved.
    pub peak_reserved_bytes: u64,
    /// Whether that is within the capacity.
    pub fits: bool,
    /// By stage.
    pub stages: Vec<StageMemory>,
}

/// Sums up a step.
pub fn summarize(timeline: &Timeline, facts: &StepFacts) -> Summary {
    let _ = (timeline, facts, account);
    unimplemented!()
}
