//! Rules of the batch: what a plan and a machine can run of it.

use super::{near, try_hint, with_hint};
use crate::spec::problem::Problem;
use crate::spec::{Cluster, ContextParallel, Model, Plan, Position, Precision, Schedule, Training};
use crate::work::DType;

/// The sequence is cut evenly over context- and sequence-parallel ranks.
pub(super) fn sequence(plan: &Plan, training: &Training, problems: &mut Vec<Problem>) {
    let length = training.sequence_length;
    // A causal ring gives each rank one early and one late chunk, so that all work alike.
    let is_ring = plan.cp > 1 && plan.cp_kind == ContextParallel::Ring;
    let chunks = if is_ring { 2 * plan.cp } else { plan.cp };
    let ranks = if plan.sequence_parallel { plan.tp } else { 1 };
    let parts = u128::from(chunks) * u128::from(ranks);
    if u128::from(length).is_multiple_of(parts) {
        return;
    }
    let mut reason = vec![];
    if plan.cp > 1 {
        let doubled = if is_ring { ", twice for a causal ring" } else { "" };
        reason.push(format!("plan.cp ({}{doubled})", plan.cp));
    }
    if ranks > 1 {
        reason.push(format!("plan.tp ({}) of sequence parallelism", plan.tp));
    }
    let message = format!("must be a multiple of {parts}: {}", reason.join(" times "));
    let up = u128::from(length).div_ceil(parts) * parts;
    let problem = Problem::new("training.sequence_length", message).found(length);
    problems.push(problem.hint(format!("try {up}")));
}

/// A table of learned positions has a row for each token.
pub(super) fn positions(model: &Model, training: &Training, problems: &mut Vec<Problem>) {
    let (Position::Learned, Some(rows)) = (model.position, model.position_count) else { return };
    let length = training.sequence_length;
    if length > rows {
        let message = format!("is more than the model's learned positions ({rows})");
        let problem = Problem::new("training.sequence_length", message).found(length);
        problems.push(problem.hint("shorten the sequence or set model.position_count"));
    }
}

/// The GPU has the formats of the precision.
pub(super) fn precision(cluster: &Cluster, training: &Training, problems: &mut Vec<Problem>) {
    let gpu = &cluster.gpu;
    let works = |precision: Precision| {
        let formats = [precision.linear(), precision.activation()];
        formats.iter().all(|&format| gpu.peak(format).is_some())
    };
    if works(training.precision) {
        return;
    }
    let all = [
        Precision::Bf16,
        Precision::Fp16,
        Precision::Fp32,
        Precision::Fp8,
        Precision::Fp8Rowwise,
        Precision::Fp8Blockwise,
        Precision::Mxfp8,
        Precision::Nvfp4,
    ];
    let name = |precision: Precision| precision.linear().name();
    let can: Vec<&str> = all.into_iter().filter(|&other| works(other)).map(name).collect();
    let message = format!("{} has no {} units", gpu.name, name(training.precision));
    let problem = Problem::new("training.precision", message)
        .found(format!("{:?}", name(training.precision)));
    let fp16 = training.precision.linear() == DType::Bf16 && works(Precision::Fp16);
    let advice = if fp16 { "; fp16 is what this GPU trained with" } else { "" };
    problems.push(problem.hint(format!("it can run {}{advice}", can.join(", "))));
}

/// The batch is whole micro-batches on every replica, and the schedule can run that many.
pub(super) fn micro_batches(
    plan: &Plan,
    training: &Training,
    data_parallel: u64,
    problems: &mut Vec<Problem>,
) {
    let (global, micro) = (training.global_batch, training.micro_batch);
    let unit = data_parallel.saturating_mul(micro);
    if global < unit || !global.is_multiple_of(unit) {
        let message = format!(
            "must be a multiple of {unit}: data-parallel replicas ({data_parallel}) times \
             training.micro_batch ({micro})"
        );
        let down = global / unit * unit;
        let choices: Vec<u64> =
            [down, down + unit].into_iter().filter(|&batch| batch > 0).collect();
        let problem = Problem::new("training.global_batch", message).found(global);
        problems.push(with_hint(problem, try_hint(&choices)));
        return;
    }
    let count = global / unit;
    let pp = plan.pp;
    // Megatron-LM's interleaved schedule runs micro-batches in groups of `pp`.
    if plan.schedule == Schedule::Interleaved && pp > 1 && !count.is_multiple_of(pp) {
        let message = format!(
            "gives {count} micro-batches a replica; the interleaved schedule needs a multiple of \
             plan.pp ({pp})"
        );
        let choices =
            near(count, count.saturating_mul(2).max(pp), |count| count.is_multiple_of(pp));
        let batches: Vec<u64> = choices.iter().map(|count| count.saturating_mul(unit)).collect();
        let problem = Problem::new("training.global_batch", message).found(global);
        problems.push(with_hint(problem, try_hint(&batches)));
    }
}
