//! What the summary of a step needs beside its timeline.

use super::price::Pricing;
use super::trust;
use crate::analysis::{StageMemory, StepFacts};
use crate::graph::{Graph, Operation, OperationKind, Parallel};
use crate::plan::Layout;
use crate::program::{Action, Launch, Program, Step};
use crate::sim::Outcome;
use crate::spec::{LayerKind, Recompute, Scenario};
use crate::units::{Bytes, Flops};

/// Gathers the facts of a step.
pub(super) fn step_facts(
    scenario: &Scenario,
    layout: &Layout,
    program: &Program,
    pricing: &Pricing,
    outcome: &Outcome,
) -> StepFacts {
    let (training, gpu) = (&scenario.training, &scenario.cluster.gpu);
    let graph = Graph::build(&scenario.model, &scenario.stack, training);
    let sequences = training.global_batch as f64;
    let model_flops = graph.model_flops(training.sequence_length) * sequences;
    let repeated = repeated_flops(scenario, layout, &graph) * sequences;
    StepFacts {
        tokens: sequences * training.sequence_length as f64,
        gpu_count: layout.mesh.world_size(),
        model_flops,
        hardware_flops: model_flops + repeated,
        peak: gpu.training_peak(training.precision.linear()),
        step_time: outcome.end.seconds(),
        capacity: gpu.memory,
        memory: stage_memory(scenario, layout, program, outcome),
        evidence: trust::evidence(program, pricing),
        errors: trust::errors(scenario, program, pricing),
        warnings: Vec::new(),
    }
}

/// Arithmetic of a sequence that backward does again.
fn repeated_flops(scenario: &Scenario, layout: &Layout, graph: &Graph) -> Flops {
    let repeats = |operation: &Operation| match scenario.plan.recompute {
        Recompute::None => false,
        Recompute::Selective => operation.attention_core,
        Recompute::Full => true,
    };
    let length = scenario.training.sequence_length;
    let of_kind = |kind: LayerKind| -> Flops {
        let operations = graph.layer(kind).iter().filter(|it| repeats(it));
        operations.map(|it| it.forward_flops(length)).sum()
    };
    let covered = scenario.recompute_layers().unwrap_or(u64::MAX);
    (0..layout.stage_layers.len())
        .flat_map(|stage| layout.kinds_on(stage).take(covered.min(1 << 20) as usize))
        .map(of_kind)
        .sum()
}

/// Memory at the peak of the rank of each stage that holds most.
fn stage_memory(
    scenario: &Scenario,
    layout: &Layout,
    program: &Program,
    outcome: &Outcome,
) -> Vec<StageMemory> {
    let slack = 1.0 + scenario.stack.allocator_overhead_fraction;
    program
        .roles
        .iter()
        .enumerate()
        .map(|(index, role)| {
            let (activations, buffers) = program
                .ranks
                .iter()
                .zip(&outcome.memory)
                .filter(|(entry, _)| entry.role == index)
                .map(|(_, peak)| (peak.activations, peak.buffers))
                .max_by(|left, right| {
                    (left.0 + left.1).value().total_cmp(&(right.0 + right.1).value())
                })
                .unwrap_or((Bytes::ZERO, Bytes::ZERO));
            let held = role.memory;
            let kept = held.weights + held.gradients + held.optimizer + held.buffers;
            let passing = activations + buffers;
            let allocated = kept + passing;
            // What is held throughout was taken once and lies without holes; what comes and goes
            // leaves some between its blocks.
            let cached = kept + passing * slack;
            StageMemory {
                stage: role.stage,
                peak: allocated + held.overhead,
                peak_reserved: cached
                    + held_by_streams(scenario, layout, role.stage as usize)
                    + held.overhead,
                peak_allocated: allocated,
                peak_cached: cached + held_by_streams(scenario, layout, role.stage as usize),
                weights: held.weights,
                gradients: held.gradients,
                optimizer: held.optimizer,
                activations,
                buffers: held.buffers + buffers,
                overhead: held.overhead,
            }
        })
        .collect()
}

/// Segments for inputs that sequence parallelism has gathered and Python has dropped, while the
/// communication stream still holds them: one for each column-parallel layer of a forward. A host
/// that waits for each pipeline transfer does not get that far ahead.
fn held_by_streams(scenario: &Scenario, layout: &Layout, stage: usize) -> Bytes {
    let (stack, shard) = (&scenario.stack, &layout.shard);
    let waits = stack.synchronous_transfers && scenario.plan.pp > 1;
    if !stack.records_streams || !shard.sequence_parallel || waits {
        return Bytes::ZERO;
    }
    let graph = Graph::build(&scenario.model, stack, &scenario.training);
    let operations = layout.kinds_on(stage).flat_map(|kind| graph.layer(kind));
    let gathered = operations.filter_map(|operation| match operation.kind {
        OperationKind::Linear { input, parallel: Parallel::Column, .. } => Some(input),
        _ => None,
    });
    let values = shard.tokens() as f64 * gathered.sum::<u64>() as f64;
    Bytes::new(values * shard.activation.bytes())
}

/// How often a rank of each role runs each work, blocks opened: `[role][work]`.
pub(super) fn work_counts(program: &Program) -> Vec<Vec<f64>> {
    let work_count = program.works.len();
    // Inner blocks come before those that hold them.
    let mut blocks: Vec<Vec<f64>> = Vec::with_capacity(program.blocks.len());
    for block in &program.blocks {
        let mut counts = vec![0.0; work_count];
        block.launches.iter().for_each(|launch| count(launch, &mut counts, &blocks));
        blocks.push(counts);
    }
    program
        .roles
        .iter()
        .map(|role| {
            let mut counts = vec![0.0; work_count];
            for step in &role.steps {
                if let Step::Launch(launch) = step {
                    count(launch, &mut counts, &blocks);
                }
            }
            counts
        })
        .collect()
}

/// Launches of the open blocks of one rank of each stage.
pub(super) fn open_launches(program: &Program) -> f64 {
    let steps = program.roles.iter().flat_map(|role| &role.steps);
    steps
        .map(|step| match step {
            Step::Launch(Launch { action: Action::OpenBlock(block), .. }) => {
                program.block(*block).launches.len() as f64
            }
            _ => 0.0,
        })
        .sum()
}

fn count(launch: &Launch, counts: &mut [f64], blocks: &[Vec<f64>]) {
    match launch.action {
        Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
            counts[work.0 as usize] += 1.0;
        }
        Action::Block(block) | Action::OpenBlock(block) => {
            for (sum, more) in counts.iter_mut().zip(&blocks[block.0 as usize]) {
                *sum += more;
            }
        }
    }
}
