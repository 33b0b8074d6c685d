//! Simulates measured runs.

use rayon::prelude::*;

use super::entry::{Entry, MemoryKind};
use crate::analysis::{Identity, Run, Summary, Validation};
use crate::predict::{Detail, simulate};
use crate::spec::{DataSources, Plan, Problem, Scenario, load_text};
use crate::units::Bytes;

/// Simulates runs side by side; `done` is called after each.
pub fn validate(sources: &DataSources, entries: &[Entry], done: &(dyn Fn() + Sync)) -> Validation {
    let run = |entry: &Entry| {
        let run = predict(sources, entry);
        done();
        run
    };
    Validation::new(entries.par_iter().map(run).collect())
}

/// The scenario of a run, read.
///
/// # Errors
/// Why there is none.
pub(super) fn scenario(sources: &DataSources, entry: &Entry) -> Result<Scenario, String> {
    let text = entry.scenario.as_ref().map_err(Clone::clone)?;
    load_text(sources, &entry.id, text, &[]).map_err(|problems| {
        // The place would be one in a text that nobody wrote.
        let told = problems.iter().map(|it| Problem { place: None, ..it.clone() }.to_string());
        told.collect::<Vec<_>>().join("; ").replace('\n', " ")
    })
}

fn predict(sources: &DataSources, entry: &Entry) -> Run {
    let predicted = scenario(sources, entry).and_then(|scenario| {
        let prediction = simulate(&scenario, Detail::Folded).map_err(|error| error.to_string())?;
        Ok((identity(&scenario), prediction.summary))
    });
    let measured = entry.measured.step_time.value();
    let peak = entry.measured.peak_memory;
    let mut run = Run {
        id: entry.id.clone(),
        family: entry.family.clone(),
        quality: entry.quality.clone(),
        measured_step_time_s: measured,
        predicted_step_time_s: None,
        error_fraction: None,
        predicted_interval_s: None,
        measured_peak_bytes: peak.map(|(bytes, _)| bytes.value() as u64),
        predicted_peak_bytes: None,
        memory_kind: peak.map(|(_, kind)| kind.name()),
        largest_part: None,
        assumed: entry.assumed.clone(),
        problem: None,
        identity: Identity::default(),
    };
    match predicted {
        Err(problem) => run.problem = Some(problem),
        Ok((identity, summary)) => {
            run.predicted_step_time_s = Some(summary.step_time_s);
            run.error_fraction = Some(summary.step_time_s / measured - 1.0);
            run.predicted_interval_s = Some(summary.step_time_interval_s);
            run.predicted_peak_bytes =
                peak.map(|(_, kind)| peak_memory(&summary, kind).value() as u64);
            run.largest_part = Some(largest_part(&summary));
            run.identity = identity;
        }
    }
    run
}

/// The predicted peak in the sense of what was measured.
fn peak_memory(summary: &Summary, kind: MemoryKind) -> Bytes {
    let memory = &summary.memory;
    let all = |bytes: u64| Bytes::new(bytes as f64);
    match kind {
        MemoryKind::Allocated => all(memory.peak_allocated_bytes),
        MemoryKind::Reserved => all(memory.peak_cached_bytes),
        MemoryKind::Device => all(memory.peak_reserved_bytes),
        // nanotron's benchmark writes `max_memory_reserved` of rank 0.
        MemoryKind::FirstRank => {
            memory.stages.first().map_or(all(memory.peak_cached_bytes), |stage| stage.peak_cached)
        }
    }
}

/// The largest part of a step and its share.
fn largest_part(summary: &Summary) -> String {
    let time = &summary.time;
    let mut parts = vec![
        ("compute".to_owned(), time.compute_s),
        ("bubble".to_owned(), time.bubble_s),
        ("host".to_owned(), time.host_bound_s),
        ("optimizer".to_owned(), time.optimizer_s),
        ("other".to_owned(), time.other_s),
    ];
    for (axis, communication) in &summary.communication {
        parts.push((format!("exposed {axis}"), communication.exposed_s));
    }
    let largest = parts.into_iter().max_by(|left, right| left.1.total_cmp(&right.1));
    largest.map_or_else(String::new, |(name, seconds)| {
        format!("{name} {:.0} %", 100.0 * seconds / summary.step_time_s)
    })
}

/// What a scenario is a run of: model, machine and batch; and the keys that could be turned.
/// Data parallelism is no key: it is what the others leave of the machine.
fn identity(scenario: &Scenario) -> Identity {
    let Scenario { model, cluster, stack, plan, training, .. } = scenario;
    let mut model = model.clone();
    model.name.clear();
    let question = format!(
        "{model:?} {} {} {} {} {}",
        cluster.name,
        cluster.gpu.name,
        scenario.world_size(),
        training.sequence_length,
        training.global_batch
    );
    // Keys of an axis of one rank turn nothing.
    let along = |ranks: u64, value: String| if ranks > 1 { value } else { String::new() };
    let Plan { tp, pp, cp, ep, .. } = *plan;
    let knobs = vec![
        ("tp", tp.to_string()),
        ("pp", pp.to_string()),
        ("cp", cp.to_string()),
        ("ep", ep.to_string()),
        ("cp_kind", along(cp, format!("{:?}", plan.cp_kind))),
        ("sequence_parallel", along(tp, plan.sequence_parallel.to_string())),
        ("overlap_tp_fraction", along(tp, stack.overlap_tp_fraction.to_string())),
        ("virtual_stages", plan.virtual_stages.to_string()),
        ("zero", plan.zero.to_string()),
        ("shard_group", format!("{:?}", plan.shard_group)),
        ("recompute", format!("{:?} {:?}", plan.recompute, plan.recompute_layers)),
        ("micro_batch", training.micro_batch.to_string()),
        ("precision", format!("{:?}", training.precision)),
        ("stack", stack.name.clone()),
        ("attention", stack.attention.name().to_owned()),
        ("gradient_dtype", format!("{:?}", stack.gradient_dtype)),
        ("overlap_gradient_reduce", stack.overlap_gradient_reduce.to_string()),
        ("compile", stack.compile.to_string()),
        ("cuda_graph", stack.cuda_graph.to_string()),
    ];
    Identity { question, knobs }
}
