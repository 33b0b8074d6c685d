//! What to try where a step does not fit.

use crate::analysis::{StageMemory, Summary};
use crate::spec::{Recompute, Scenario};
use crate::units::Bytes;

/// A sentence with what to change, that first which works on the largest part of the fullest
/// stage; `None` where the step fits.
pub(super) fn remedies(scenario: &Scenario, summary: &Summary) -> Option<String> {
    let by_reserved = |left: &&StageMemory, right: &&StageMemory| {
        left.peak_reserved.value().total_cmp(&right.peak_reserved.value())
    };
    let fullest = summary.memory.stages.iter().max_by(by_reserved);
    let stage = fullest.filter(|_| !summary.memory.fits)?;
    let mut remedies = for_activations(scenario, stage);
    remedies.extend(for_states(scenario, stage));
    // Stable: of equal sizes the cheaper one, which is listed first.
    remedies.sort_by(|left, right| right.0.value().total_cmp(&left.0.value()));
    let mut texts: Vec<String> = remedies.into_iter().map(|remedy| remedy.1).collect();
    texts.push("GPUs with more memory".to_owned());
    Some(format!("try: {}", texts.join("; ")))
}

type Remedy = (Bytes, String);

fn for_activations(scenario: &Scenario, stage: &StageMemory) -> Vec<Remedy> {
    let (plan, training) = (&scenario.plan, &scenario.training);
    let mut texts = Vec::new();
    if plan.tp > 1 && !plan.sequence_parallel {
        texts.push("plan.sequence_parallel = true".to_owned());
    }
    if training.micro_batch > 1 {
        texts.push("a smaller training.micro_batch".to_owned());
    }
    if plan.recompute != Recompute::Full {
        texts.push("plan.recompute = \"full\"".to_owned());
    } else if plan.recompute_layers.is_some() {
        texts.push("more plan.recompute_layers".to_owned());
    }
    if training.micro_batch == 1 {
        texts.push("a larger plan.cp".to_owned());
    }
    texts.into_iter().map(|text| (stage.activations, text)).collect()
}

fn for_states(scenario: &Scenario, stage: &StageMemory) -> Vec<Remedy> {
    let plan = &scenario.plan;
    let mut remedies = Vec::new();
    let replicated = match plan.zero {
        0 => stage.weights + stage.gradients + stage.optimizer,
        1 => stage.weights + stage.gradients,
        2 => stage.weights,
        _ => Bytes::ZERO,
    };
    if scenario.data_parallel() > 1 && plan.zero == 0 {
        remedies.push((stage.optimizer, "plan.zero = 1".to_owned()));
    }
    if scenario.data_parallel() > 1 && plan.zero < 3 && plan.pp == 1 {
        remedies.push((replicated, "plan.zero = 3".to_owned()));
    }
    let states = stage.weights + stage.gradients + stage.optimizer;
    let domain = scenario.cluster.domain_size();
    if plan.tp < domain {
        remedies.push((states, format!("a larger plan.tp (up to {domain} in a node)")));
    }
    if plan.zero < 3 && plan.pp < scenario.model.layer_count {
        remedies.push((states, "a larger plan.pp".to_owned()));
    }
    if plan.zero > 0 {
        // What is sharded shrinks with the number of replicas.
        let sharded = states - replicated;
        remedies.push((sharded, "more nodes (cluster.node_count)".to_owned()));
    }
    remedies
}
