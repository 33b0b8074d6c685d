//! Rules of the plan: how ranks, heads and layers are cut.

use super::{near, try_hint, with_hint};
use crate::spec::problem::Problem;
use crate::spec::{Cluster, ContextParallel, Model, Plan, Recompute, Schedule, Stack};
use crate::work::AttentionFamily;

/// The axes fill the machine. Data-parallel replicas, when they do.
pub(super) fn mesh(plan: &Plan, cluster: &Cluster, problems: &mut Vec<Problem>) -> Option<u64> {
    let gpus = cluster.gpu_count();
    let others = u128::from(plan.tp) * u128::from(plan.pp) * u128::from(plan.cp);
    let product = format!("tp {} x pp {} x cp {}", plan.tp, plan.pp, plan.cp);
    let machine =
        format!("{gpus} GPUs ({} nodes of {})", cluster.node_count, cluster.gpus_per_node);
    // Within range of `u64` from here on: no larger than the machine.
    let others = u64::try_from(others).ok().filter(|&others| others <= gpus);
    let Some(others) = others else {
        let (key, ranks) = widest(plan);
        let message = format!("{product} is more ranks than the cluster's {machine}");
        problems.push(Problem::new(key, message).found(ranks));
        return None;
    };
    if let Some(dp) = plan.dp {
        let ranks = others.saturating_mul(dp);
        if ranks > gpus {
            let message =
                format!("{product} x dp {dp} is {ranks} ranks, but the cluster has {machine}");
            let problem = Problem::new("plan.dp", message).found(dp);
            let hint = format!("try {}, or leave plan.dp out to fill the cluster", gpus / others);
            problems.push(problem.hint(hint));
            return None;
        }
        return Some(dp);
    }
    if !gpus.is_multiple_of(others) {
        let axes = [("plan.tp", plan.tp), ("plan.pp", plan.pp), ("plan.cp", plan.cp)];
        let (key, ranks) =
            axes.into_iter().find(|axis| !gpus.is_multiple_of(axis.1)).unwrap_or(widest(plan));
        let rest = others / ranks.max(1);
        let message = format!("{product} = {others} must divide the cluster's {machine}");
        let choices = near(ranks, gpus / rest.max(1), |ranks| gpus.is_multiple_of(ranks * rest));
        let problem = Problem::new(key, message).found(ranks);
        let hint = try_hint(&choices)
            .map(|hint| format!("{hint}, or set plan.dp to leave some GPUs idle"));
        problems.push(with_hint(problem, hint));
        return None;
    }
    Some(gpus / others)
}

/// The axis with the most ranks, for problems of their product.
fn widest(plan: &Plan) -> (&'static str, u64) {
    let axes = [("plan.cp", plan.cp), ("plan.pp", plan.pp), ("plan.tp", plan.tp)];
    axes.into_iter().max_by_key(|axis| axis.1).unwrap_or(("plan.tp", plan.tp))
}

/// Heads and the MLP are cut evenly over tensor-parallel (and Ulysses) ranks.
pub(super) fn heads(plan: &Plan, model: &Model, problems: &mut Vec<Problem>) {
    let (tp, heads, kv, ffn) = (plan.tp, model.head_count, model.kv_heads(), model.ffn_size);
    // Ranks beyond the key and value heads share copies of them.
    let kv_works = |tp: u64| kv.is_multiple_of(tp) || tp.is_multiple_of(kv);
    let works = |tp: u64| heads.is_multiple_of(tp) && ffn.is_multiple_of(tp) && kv_works(tp);
    let message = if !heads.is_multiple_of(tp) {
        Some(format!("must divide model.head_count ({heads})"))
    } else if !ffn.is_multiple_of(tp) {
        Some(format!("must divide model.ffn_size ({ffn})"))
    } else if !kv_works(tp) {
        Some(format!("must divide model.kv_head_count ({kv}) or be a multiple of it"))
    } else {
        None
    };
    if let Some(message) = message {
        let problem = Problem::new("plan.tp", message).found(tp);
        problems.push(with_hint(problem, try_hint(&near(tp, heads, works))));
        return;
    }
    if plan.cp == 1 || plan.cp_kind != ContextParallel::Ulysses {
        return;
    }
    let limit = heads.min(kv);
    let fits = |cp: u64| {
        cp.checked_mul(tp)
            .is_some_and(|ranks| heads.is_multiple_of(ranks) && kv.is_multiple_of(ranks))
    };
    if !fits(plan.cp) {
        let message = format!(
            "Ulysses spreads heads: cp x tp ({tp}) must divide model.head_count ({heads}) and \
             model.kv_head_count ({kv})"
        );
        let problem = Problem::new("plan.cp", message).found(plan.cp);
        let hint = try_hint(&near(plan.cp, limit, fits)).map_or_else(
            || "use plan.cp_kind = \"ring\" or \"all_gather\"".to_owned(),
            |hint| format!("{hint}, or plan.cp_kind = \"ring\""),
        );
        problems.push(problem.hint(hint));
    }
}

/// A ring passes blocks of keys and values through a fused attention kernel.
pub(super) fn ring_attention(plan: &Plan, stack: &Stack, problems: &mut Vec<Problem>) {
    let ring = plan.cp > 1 && plan.cp_kind == ContextParallel::Ring;
    if ring && stack.attention == AttentionFamily::Unfused {
        let message = "ring context parallelism needs fused attention, and stack.attention is \
                       `unfused`";
        let hint = "use plan.cp_kind = \"all_gather\", or stack.attention = \"flash2\"";
        problems.push(Problem::new("plan.cp", message).found(plan.cp).hint(hint));
    }
}

/// Virtual stages and the schedule agree.
pub(super) fn schedule(plan: &Plan, problems: &mut Vec<Problem>) {
    let is_interleaved = plan.schedule == Schedule::Interleaved;
    if is_interleaved && plan.pp < 2 {
        let message = "the interleaved schedule needs at least 2 pipeline stages";
        problems.push(
            Problem::new("plan.pp", message)
                .found(plan.pp)
                .hint("raise plan.pp or use schedule = \"1f1b\""),
        );
    }
    if is_interleaved && plan.virtual_stages < 2 {
        let message = "the interleaved schedule needs at least 2 virtual stages";
        problems.push(Problem::new("plan.virtual_stages", message).found(plan.virtual_stages));
    }
    if !is_interleaved && plan.virtual_stages > 1 {
        let message = format!("the {} schedule runs one chunk a stage", plan.schedule.name());
        problems.push(
            Problem::new("plan.virtual_stages", message)
                .found(plan.virtual_stages)
                .hint("set plan.schedule = \"interleaved\""),
        );
    }
    if plan.recompute == Recompute::None
        && let Some(layers) = plan.recompute_layers
    {
        let message = "has no effect without recompute";
        let problem = Problem::new("plan.recompute_layers", message).found(layers);
        problems.push(problem.hint("set plan.recompute = \"full\" or leave it out"));
    }
}

/// Layers are spread over the chunks of the pipeline, evenly or as told.
pub(super) fn layers(plan: &Plan, model: &Model, is_even: bool, problems: &mut Vec<Problem>) {
    let chunks = plan.pp.saturating_mul(plan.virtual_stages);
    let layers = model.layer_count;
    let before = problems.len();
    match &plan.stage_layers {
        Some(given) => {
            let mut refuse = |message: String| {
                problems.push(Problem::new("plan.stage_layers", message).found(listed(given)));
            };
            if given.len() as u64 != chunks {
                refuse(format!(
                    "has {} numbers; pp ({}) x virtual_stages ({}) needs {chunks}",
                    given.len(),
                    plan.pp,
                    plan.virtual_stages
                ));
            }
            let sum = given.iter().fold(0u64, |sum, &number| sum.saturating_add(number));
            if sum != layers {
                refuse(format!("sums to {sum}; the model has {layers} layers"));
            }
        }
        None if is_even => problems.extend(even_layers(plan, layers, chunks)),
        None => {}
    }
    let Some(covered) = plan.recompute_layers.filter(|_| problems.len() == before) else { return };
    let most = match &plan.stage_layers {
        Some(given) => given.chunks(plan.pp as usize).fold(vec![0; plan.pp as usize], add_up),
        None => vec![(layers + 2 * u64::from(plan.count_embedding_and_head)) / plan.pp],
    };
    let most = most.into_iter().max().unwrap_or(0).min(layers);
    if covered > most {
        let message = format!("is more than the layers of a stage ({most})");
        problems.push(Problem::new("plan.recompute_layers", message).found(covered));
    }
}

/// Layers of each stage so far, plus those of its next chunk.
fn add_up(mut stages: Vec<u64>, chunk: &[u64]) -> Vec<u64> {
    for (stage, layers) in stages.iter_mut().zip(chunk) {
        *stage += layers;
    }
    stages
}

fn listed(numbers: &[u64]) -> String {
    let shown: Vec<String> = numbers.iter().take(12).map(u64::to_string).collect();
    let more = if numbers.len() > 12 { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}

fn even_layers(plan: &Plan, layers: u64, chunks: u64) -> Option<Problem> {
    let extra = if plan.count_embedding_and_head { 2 } else { 0 };
    let slots = layers + extra;
    // A first chunk of the embedding alone and a last one of the head alone are what Llama 3 405B
    // trained with (Llama team 2024, section 3.3.2), so one slot a chunk is enough.
    let works = |chunks: u64| slots >= chunks && slots.is_multiple_of(chunks);
    if works(chunks) {
        return None;
    }
    let (counted, what) = match extra {
        0 => (String::new(), format!("{layers} layers")),
        _ => (" + 2".to_owned(), format!("{layers} layers, embedding and head")),
    };
    let message = format!(
        "pp ({}) x virtual_stages ({}) = {chunks} chunks cannot share {what} evenly: it must \
         divide model.layer_count{counted} ({slots})",
        plan.pp, plan.virtual_stages
    );
    let (key, found, fixed) = if plan.virtual_stages > 1 && works(plan.pp) {
        ("plan.virtual_stages", plan.virtual_stages, plan.pp)
    } else {
        ("plan.pp", plan.pp, plan.virtual_stages)
    };
    let choices = near(found, slots, |number| number.checked_mul(fixed).is_some_and(&works));
    let mut hints: Vec<String> = try_hint(&choices).into_iter().collect();
    if extra == 0 && layers + 2 >= chunks && (layers + 2).is_multiple_of(chunks) {
        hints.push("set plan.count_embedding_and_head = true".to_owned());
    }
    if chunks <= layers {
        hints.push(format!("give plan.stage_layers ({chunks} numbers that sum to {layers})"));
    }
    Some(Problem::new(key, message).found(found).hint(hints.join(", or ")))
}

/// Shard groups divide the ranks that could share a shard.
pub(super) fn sharding(plan: &Plan, data_parallel: u64, problems: &mut Vec<Problem>) {
    let Some(group) = plan.shard_group else { return };
    let ranks = data_parallel.saturating_mul(plan.cp);
    if plan.zero == 0 {
        let message = "has no effect with plan.zero = 0";
        let problem = Problem::new("plan.shard_group", message).found(group);
        problems.push(problem.hint("set plan.zero to 1, 2 or 3, or leave it out"));
    } else if !ranks.is_multiple_of(group) {
        let message =
            format!("must divide dp ({data_parallel}) x cp ({}) = {ranks} ranks", plan.cp);
        let problem = Problem::new("plan.shard_group", message).found(group);
        let choices = near(group, ranks, |group| ranks.is_multiple_of(group));
        problems.push(with_hint(problem, try_hint(&choices)));
    }
}

/// Experts are spread over the ranks of a stage, whose tokens are routed where they are.
pub(super) fn experts(plan: &Plan, model: &Model, data_parallel: u64, problems: &mut Vec<Problem>) {
    let (ep, etp) = (plan.ep, plan.expert_tensor_parallel());
    let Some(experts) = &model.experts else {
        let without = "has no effect: the model is dense, it has no experts";
        if ep > 1 {
            let message = "must be 1: the model is dense, it has no experts to spread";
            problems.push(Problem::new("plan.ep", message).found(ep));
        } else if let Some(etp) = plan.etp {
            problems.push(Problem::new("plan.etp", without).found(etp));
        }
        return;
    };
    if plan.tp > 1 && !plan.sequence_parallel {
        let message = "experts beside tensor parallelism need each rank to have tokens of its own";
        let problem = Problem::new("plan.sequence_parallel", message).found(false);
        problems.push(problem.hint("set plan.sequence_parallel = true"));
    }
    let count = experts.count;
    if !count.is_multiple_of(ep) {
        let message = format!("must divide model.experts.count ({count})");
        let choices = near(ep, count, |ep| count.is_multiple_of(ep));
        let problem = Problem::new("plan.ep", message).found(ep);
        problems.push(with_hint(problem, try_hint(&choices)));
        return;
    }
    if !experts.ffn_size.is_multiple_of(etp) {
        let message = format!("must divide model.experts.ffn_size ({})", experts.ffn_size);
        problems.push(Problem::new("plan.etp", message).found(etp));
        return;
    }
    let ranks = plan.tp.saturating_mul(plan.cp).saturating_mul(data_parallel);
    if !ranks.is_multiple_of(ep.saturating_mul(etp)) {
        let (tp, cp) = (plan.tp, plan.cp);
        let message = format!(
            "ep {ep} x etp {etp} must divide the ranks of a stage, tp {tp} x cp {cp} x \
             dp {data_parallel} = {ranks}"
        );
        let works =
            |ep: u64| count.is_multiple_of(ep) && ranks.is_multiple_of(ep.saturating_mul(etp));
        let problem = Problem::new("plan.ep", message).found(ep);
        problems.push(with_hint(problem, try_hint(&near(ep, count.min(ranks), works))));
    }
}
