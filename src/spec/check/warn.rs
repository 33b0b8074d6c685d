//! What can be simulated but is likely not meant.

use crate::spec::{Scenario, Schedule};
use crate::work::AttentionFamily;

/// Sentences about choices that are allowed and odd; empty for most scenarios.
///
/// Expects a scenario that [`super::check`] finds nothing wrong with.
pub fn warnings(scenario: &Scenario) -> Vec<String> {
    let Scenario { model, cluster, plan, stack, .. } = scenario;
    let mut warnings = Vec::new();
    let domain = cluster.domain_size();
    if plan.tp > domain {
        warnings.push(format!(
            "plan.tp = {} is more than the {domain} GPUs of a scale-up domain: its collectives \
             cross the network",
            plan.tp
        ));
    }
    let (ranks, gpus) = (scenario.world_size(), cluster.gpu_count());
    if ranks < gpus {
        warnings.push(format!("the plan uses {ranks} of the cluster's {gpus} GPUs"));
    }
    let micro_batches = scenario.micro_batch_count();
    if plan.pp > 1 && micro_batches < plan.pp {
        warnings
            .push(format!("{micro_batches} micro-batches cannot fill {} pipeline stages", plan.pp));
    }
    if plan.schedule == Schedule::Gpipe && plan.pp == 1 {
        warnings.push("plan.schedule = \"gpipe\" has no effect with one pipeline stage".to_owned());
    }
    warnings.extend(attention(stack.attention, &cluster.gpu.architecture, &cluster.gpu.name));
    if let Some(published) = model.parameter_count {
        let computed = model.parameters();
        if (computed / published - 1.0).abs() > 0.02 {
            warnings.push(format!(
                "model {} has {:.3} billion parameters by its dimensions, {:.3} by its \
                 parameter_count",
                model.name,
                computed / 1e9,
                published / 1e9
            ));
        }
    }
    warnings
}

/// Kernels that were never built for an architecture (support matrix of the flash-attn package).
fn attention(family: AttentionFamily, architecture: &str, gpu: &str) -> Option<String> {
    let runs_on: &[&str] = match family {
        AttentionFamily::Flash3 => &["hopper"],
        AttentionFamily::Flash2 => {
            &["ampere", "ada", "hopper", "blackwell", "blackwell-rtx", "cdna2", "cdna3", "cdna4"]
        }
        AttentionFamily::Unfused | AttentionFamily::Flash1 | AttentionFamily::Cudnn => return None,
    };
    (!runs_on.contains(&architecture)).then(|| {
        format!("stack.attention = {:?} does not exist for {gpu} ({architecture})", family.name())
    })
}
