//! Ranges of single numbers: positive, sane, and small enough that no later product overflows.

use std::fmt;
use std::ops::RangeInclusive;

use crate::spec::problem::Problem;
use crate::spec::{Cluster, Fit, Gpu, Model, Plan, Position, Stack, Training};
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond, Seconds};

/// Widths of matrices: 16 times the widest vocabulary in use.
const WIDTH: RangeInclusive<u64> = 1..=1 << 24;
/// Counts of ranks, nodes, heads.
const COUNT: RangeInclusive<u64> = 1..=1 << 20;
/// Transformer layers, and chunks of them.
const LAYERS: RangeInclusive<u64> = 1..=1 << 14;
/// Tokens a sequence.
const SEQUENCE: RangeInclusive<u64> = 1..=1 << 28;
/// Sequences a step.
const BATCH: RangeInclusive<u64> = 1..=1 << 24;
/// Tokens of one micro-batch: times a width it stays below 2^56.
const MICRO_BATCH_TOKENS: u64 = 1 << 32;
/// Longest latency or host time that is not a slip of the unit.
const LATENCY: Seconds = Seconds::new(1.0);
/// The same for host work of a step.
const STEP_TIME: Seconds = Seconds::new(3600.0);
/// Least bucket of gradients: smaller ones make more collectives than any library would launch.
const LEAST_BUCKET: Bytes = Bytes::new(65536.0);

/// Collects problems of one part.
struct Range<'a> {
    part: &'static str,
    problems: &'a mut Vec<Problem>,
}

impl Range<'_> {
    fn refuse(&mut self, key: &str, found: impl fmt::Display, message: impl Into<String>) {
        let key = format!("{}.{key}", self.part);
        self.problems.push(Problem::new(key, message).found(found));
    }

    fn whole(&mut self, key: &str, found: u64, range: &RangeInclusive<u64>) {
        if !range.contains(&found) {
            let message = format!("must be from {} to {}", range.start(), range.end());
            self.refuse(key, found, message);
        }
    }

    fn optional(&mut self, key: &str, found: Option<u64>, range: &RangeInclusive<u64>) {
        if let Some(found) = found {
            self.whole(key, found, range);
        }
    }

    fn number(&mut self, key: &str, found: f64, least: f64, most: f64) {
        if !(least..=most).contains(&found) {
            self.refuse(key, found, format!("must be from {least} to {most}"));
        }
    }

    /// A share of a peak: above 0, at most 1.
    fn share(&mut self, key: &str, found: f64) {
        if !(found > 0.0 && found <= 1.0) {
            self.refuse(key, found, "must be above 0 and at most 1");
        }
    }

    fn positive<T: PartialOrd + Default + fmt::Display>(&mut self, key: &str, found: T) {
        if found <= T::default() {
            self.refuse(key, found, "must be above zero");
        }
    }

    fn at_most(&mut self, key: &str, found: Seconds, most: Seconds) {
        if found > most {
            self.refuse(key, found, format!("must be at most {most}; is the unit right?"));
        }
    }
}

pub(super) fn model(model: &Model, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "model", problems };
    range.whole("layer_count", model.layer_count, &LAYERS);
    range.whole("hidden_size", model.hidden_size, &WIDTH);
    range.whole("ffn_size", model.ffn_size, &WIDTH);
    range.whole("head_count", model.head_count, &COUNT);
    range.optional("kv_head_count", model.kv_head_count, &COUNT);
    range.optional("head_dim", model.head_dim, &(1..=1 << 16));
    range.whole("vocabulary_size", model.vocabulary_size, &WIDTH);
    range.optional("position_count", model.position_count, &SEQUENCE);
    layers(model, &mut range);
    if let Some(count) = model.parameter_count {
        range.number("parameter_count", count, 1.0, 1e16);
    }
    let heads = model.head_count.max(1);
    if model.head_dim.is_none() && !model.hidden_size.is_multiple_of(heads) {
        let message = format!("must divide model.hidden_size ({})", model.hidden_size);
        let problem = Problem::new("model.head_count", message).found(heads);
        range.problems.push(problem.hint("or give the width of a head as model.head_dim"));
    }
    if !heads.is_multiple_of(model.kv_heads().max(1)) {
        let message = format!("must divide model.head_count ({heads})");
        range.refuse("kv_head_count", model.kv_heads(), message);
    }
    if model.position == Position::Learned && model.position_count.is_none() {
        let message = "learned positions need model.position_count, the rows of their table";
        range.refuse("position", "\"learned\"", message);
    }
}

/// Experts, latents and windows.
fn layers(model: &Model, range: &mut Range<'_>) {
    if let Some(experts) = &model.experts {
        range.whole("experts.count", experts.count, &COUNT);
        range.whole("experts.top_k", experts.top_k, &COUNT);
        range.whole("experts.ffn_size", experts.ffn_size, &WIDTH);
        range.whole("experts.shared_ffn_size", experts.shared_ffn_size, &(0..=*WIDTH.end()));
        range.whole("experts.dense_layers", experts.dense_layers, &(0..=*LAYERS.end()));
        range.whole("experts.every", experts.every, &LAYERS);
        if experts.top_k > experts.count {
            let message = format!("must be at most model.experts.count ({})", experts.count);
            range.refuse("experts.top_k", experts.top_k, message);
        }
    }
    if let Some(latent) = &model.latent_attention {
        range.optional("latent_attention.query_rank", latent.query_rank, &WIDTH);
        range.whole("latent_attention.key_value_rank", latent.key_value_rank, &WIDTH);
        range.whole("latent_attention.plain_dim", latent.plain_dim, &(1..=1 << 16));
        range.whole("latent_attention.rotary_dim", latent.rotary_dim, &(1..=1 << 16));
        range.whole("latent_attention.value_dim", latent.value_dim, &(1..=1 << 16));
    }
    if let Some(window) = &model.sliding_window {
        range.whole("sliding_window.tokens", window.tokens, &SEQUENCE);
        range.whole("sliding_window.every", window.every, &LAYERS);
    }
}

pub(super) fn cluster(cluster: &Cluster, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "cluster", problems };
    let per_node = cluster.gpus_per_node;
    range.whole("gpus_per_node", per_node, &(1..=1 << 10));
    range.whole("node_count", cluster.node_count, &COUNT);
    if let Some(size) = cluster.scale_up_domain_size {
        range.whole("scale_up_domain_size", size, &(1..=1 << 16));
        if size < per_node || !size.is_multiple_of(per_node.max(1)) {
            let message = format!("must be a multiple of cluster.gpus_per_node ({per_node})");
            range.refuse("scale_up_domain_size", size, message);
        }
    }
    range.positive::<BytesPerSecond>("scale_up_bandwidth", cluster.scale_up_bandwidth);
    range.share("scale_up_fraction", cluster.scale_up_fraction);
    range.at_most("scale_up_latency", cluster.scale_up_latency, LATENCY);
    range.whole("nics_per_node", cluster.nics_per_node, &(0..=1 << 10));
    // Nodes beyond the scale-up domain can only be reached through NICs.
    let nodes_of_domain = cluster.domain_size() / per_node.max(1);
    if cluster.node_count > nodes_of_domain && cluster.nics_per_node == 0 {
        let message = format!("{} nodes need NICs to reach each other", cluster.node_count);
        range.refuse("nics_per_node", 0, message);
    }
    if cluster.nics_per_node > 0 {
        range.positive::<BytesPerSecond>("nic_bandwidth", cluster.nic_bandwidth);
        range.share("nic_fraction", cluster.nic_fraction);
    }
    range.at_most("network_latency", cluster.network_latency, LATENCY);
    range.at_most("spine_latency", cluster.spine_latency, LATENCY);
    range.whole("nodes_per_leaf", cluster.nodes_per_leaf, &COUNT);
    range.share("spine_fraction", cluster.spine_fraction);
    range.positive::<BytesPerSecond>("host_bandwidth", cluster.host_bandwidth);
    gpu(&cluster.gpu, range.problems);
}

fn gpu(gpu: &Gpu, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "cluster.gpu", problems };
    range.positive::<Bytes>("memory", gpu.memory);
    range.positive::<BytesPerSecond>("memory_bandwidth", gpu.memory_bandwidth);
    range.share("memory_bandwidth_fraction", gpu.memory_bandwidth_fraction);
    range.whole("sm_count", gpu.sm_count, &(1..=1 << 16));
    range.positive::<Bytes>("l2_cache", gpu.l2_cache);
    let peaks = [
        ("peak_fp32", Some(gpu.peak_fp32)),
        ("peak_tf32", gpu.peak_tf32),
        ("peak_fp16", Some(gpu.peak_fp16)),
        ("peak_bf16", gpu.peak_bf16),
        ("peak_fp8", gpu.peak_fp8),
        ("peak_fp4", gpu.peak_fp4),
    ];
    for (key, peak) in peaks {
        if let Some(peak) = peak {
            range.positive::<FlopsPerSecond>(key, peak);
        }
    }
    range.share("gemm_fraction", gpu.gemm_fraction);
    if let Some(fraction) = gpu.gemm_fp8_fraction {
        range.share("gemm_fp8_fraction", fraction);
    }
    range.share("attention_forward_fraction", gpu.attention_forward_fraction);
    range.share("attention_backward_fraction", gpu.attention_backward_fraction);
    range.at_most("kernel_floor", gpu.kernel_floor, LATENCY);
    range.at_most("launch_latency", gpu.launch_latency, LATENCY);
    range.positive("tdp", gpu.tdp);
}

pub(super) fn fit(fit: &Fit, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "fit", problems };
    range.number("compute_factor", fit.compute_factor, 0.01, 100.0);
    range.number("network_factor", fit.network_factor, 0.01, 100.0);
}

pub(super) fn stack(stack: &Stack, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "stack", problems };
    range.share("norm_bandwidth_fraction", stack.norm_bandwidth_fraction);
    range.share("elementwise_bandwidth_fraction", stack.elementwise_bandwidth_fraction);
    range.share("softmax_bandwidth_fraction", stack.softmax_bandwidth_fraction);
    range.share("optimizer_bandwidth_fraction", stack.optimizer_bandwidth_fraction);
    range.share("permute_bandwidth_fraction", stack.permute_bandwidth_fraction);
    range.number("attention_forward_factor", stack.attention_forward_factor, 0.01, 100.0);
    range.number("attention_backward_factor", stack.attention_backward_factor, 0.01, 100.0);
    range.whole("loss_metric_count", stack.loss_metric_count, &(0..=100));
    if stack.gradient_bucket < LEAST_BUCKET {
        let message = format!("must be at least {LEAST_BUCKET}");
        range.refuse("gradient_bucket", stack.gradient_bucket, message);
    }
    range.number("overlap_tp_fraction", stack.overlap_tp_fraction, 0.0, 1.0);
    range.whole("fsdp_prefetch", stack.fsdp_prefetch, &(0..=1 << 10));
    range.number("overlap_exchange_fraction", stack.overlap_exchange_fraction, 0.0, 1.0);
    range.number("memory_kernel_slowdown", stack.memory_kernel_slowdown, 1.0, 100.0);
    range.number("compute_kernel_slowdown", stack.compute_kernel_slowdown, 1.0, 100.0);
    range.number("communication_slowdown", stack.communication_slowdown, 1.0, 100.0);
    range.number("posted_receive_slowdown", stack.posted_receive_slowdown, 1.0, 100.0);
    range.number("straggler_fraction", stack.straggler_fraction, 0.0, 1.0);
    range.number("kernel_time_factor", stack.kernel_time_factor, 0.01, 100.0);
    let factor = stack.gradient_reduce_time_factor;
    range.number("gradient_reduce_time_factor", factor, 0.01, 100.0);
    let factor = stack.narrow_product_time_factor;
    range.number("narrow_product_time_factor", factor, 0.01, 100.0);
    range.optional("block_recompute_layers", stack.block_recompute_layers, &(0..=1 << 14));
    range.at_most("launch_cost", stack.launch_cost, LATENCY);
    range.at_most("backward_launch_cost", stack.backward_launch_cost, LATENCY);
    range.at_most("collective_launch_cost", stack.collective_launch_cost, LATENCY);
    range.whole("launch_queue_depth", stack.launch_queue_depth, &COUNT);
    range.at_most("step_host_time", stack.step_host_time, STEP_TIME);
    range.at_most("micro_batch_host_time", stack.micro_batch_host_time, STEP_TIME);
    range.number("allocator_overhead_fraction", stack.allocator_overhead_fraction, 0.0, 10.0);
    let mut names: Vec<String> = stack.rank_order.iter().map(|axis| format!("{axis:?}")).collect();
    names.sort();
    if names != ["Cp", "Dp", "Pp", "Tp"] {
        let found = format!("[{}]", names.join(", ").to_lowercase());
        range.refuse("rank_order", found, "must name each of `tp`, `cp`, `dp` and `pp` once");
    }
}

pub(super) fn plan(plan: &Plan, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "plan", problems };
    for (key, ranks) in [("tp", plan.tp), ("pp", plan.pp), ("cp", plan.cp), ("ep", plan.ep)] {
        range.whole(key, ranks, &COUNT);
    }
    range.optional("etp", plan.etp, &COUNT);
    range.optional("dp", plan.dp, &COUNT);
    range.whole("virtual_stages", plan.virtual_stages, &(1..=1 << 10));
    range.whole("zero", plan.zero, &(0..=3));
    range.optional("shard_group", plan.shard_group, &COUNT);
    range.optional("recompute_layers", plan.recompute_layers, &(0..=1 << 14));
    for (index, &layers) in plan.stage_layers.iter().flatten().enumerate() {
        // 0 is a chunk of only the embedding or only the head.
        if layers > *LAYERS.end() {
            let message = format!("number {} must be at most {}", index + 1, LAYERS.end());
            range.refuse("stage_layers", layers, message);
        }
    }
}

pub(super) fn training(training: &Training, problems: &mut Vec<Problem>) {
    let mut range = Range { part: "training", problems };
    range.whole("sequence_length", training.sequence_length, &SEQUENCE);
    range.whole("micro_batch", training.micro_batch, &COUNT);
    range.whole("global_batch", training.global_batch, &BATCH);
    if training.sequence_length.saturating_mul(training.micro_batch) > MICRO_BATCH_TOKENS {
        let message = format!(
            "times sequence_length ({}) is more than {MICRO_BATCH_TOKENS} tokens",
            training.sequence_length
        );
        range.refuse("micro_batch", training.micro_batch, message);
    }
}
