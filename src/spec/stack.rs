//! The software: which kernels are fused, what overlaps, what the host costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::units::{Bytes, Seconds};
use crate::work::{AttentionFamily, DType, Dispatcher};

/// A software stack, as far as it shapes a step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Name for people.
    pub name: String,

    // Kernels.
    /// Implementation of the attention core.
    pub attention: AttentionFamily,
    /// Time of the attention core's forward as this stack calls it over the bare kernel of its
    /// family: another kernel under the family's name, copies of layouts, padding; 1 when absent.
    #[serde(default = "one")]
    pub attention_forward_factor: f64,
    /// The same for its backward.
    #[serde(default = "one")]
    pub attention_backward_factor: f64,
    /// Whether scale, mask and softmax of unfused attention are one kernel.
    pub fused_softmax: bool,
    /// Whether a bias is added inside the activation kernel (bias-GELU, bias-SwiGLU).
    pub fused_activation: bool,
    /// Whether bias, dropout and residual addition are one kernel.
    pub fused_residual: bool,
    /// Whether rotary embedding is one kernel.
    pub fused_rotary: bool,
    /// Whether a norm is one kernel (else a chain of elementwise kernels).
    pub fused_norm: bool,
    /// Whether cross-entropy is one pass over the logits (else a chain with fp32 logits in memory).
    pub fused_cross_entropy: bool,
    /// Whether logits are kept in fp32 for the loss.
    pub fp32_logits: bool,
    /// Metrics that compute the cross-entropy of the logits once more each micro-batch, unfused and
    /// in fp32 (Composer's training metrics); none when absent.
    #[serde(default)]
    pub loss_metric_count: u64,
    /// Whether recomputation of a whole layer ends with the last tensor that backward needs, so
    /// that the last product is not repeated (non-reentrant checkpoints since PyTorch 2.1).
    #[serde(default)]
    pub recompute_stops_early: bool,
    /// What `plan.recompute = "selective"` computes again; the attention core when absent.
    #[serde(default)]
    pub selective_recompute: SelectiveRecompute,
    /// Whether the wgrad GEMM adds into the gradient buffer (else a separate accumulation).
    pub fused_gradient_accumulation: bool,
    /// Where a weight's gradient lives before it is in the gradient buffer.
    #[serde(default)]
    pub weight_gradient: WeightGradient,
    /// Whether a stage keeps what it sent to the next one until its gradient comes back (the
    /// engines of DeepSpeed and nanotron); Megatron-LM frees it (`deallocate_pipeline_outputs`).
    #[serde(default)]
    pub keeps_sent_activations: bool,
    /// Whether what a collective has gathered stays with its stream until the device gets there
    /// (`record_stream` of PyTorch, unless `TORCH_NCCL_AVOID_RECORD_STREAMS`, which Megatron-LM
    /// sets): a host that runs ahead then takes a new block for each layer.
    #[serde(default)]
    pub records_streams: bool,
    /// Whether the loss writes the gradient of the logits over what it kept of them (Megatron-LM,
    /// Transformer Engine); the functions of PyTorch do not.
    #[serde(default)]
    pub in_place_cross_entropy: bool,
    /// Whether dropout runs where `training.dropout` does not say: `--hidden-dropout` and
    /// `--attention-dropout` of Megatron-LM are 0.1 unless set.
    #[serde(default)]
    pub dropout: bool,
    /// Whether the optimizer updates all tensors in few launches (else several a tensor).
    pub fused_optimizer: bool,
    /// Whether chains of elementwise kernels are compiled into one (torch.compile).
    pub compile: bool,
    /// Copies of all heads' queries that lay out queries, keys and values around a fused attention
    /// core, in forward and again in backward; none when absent.
    #[serde(default)]
    pub attention_copies: u32,
    /// Whether gradients are scaled for clipping in a pass of its own, and not by the update.
    #[serde(default)]
    pub separate_clipping: bool,
    /// Share of memory bandwidth that norm kernels reach.
    pub norm_bandwidth_fraction: f64,
    /// Share of memory bandwidth that elementwise kernels reach.
    pub elementwise_bandwidth_fraction: f64,
    /// Share of memory bandwidth that the softmax kernels reach.
    pub softmax_bandwidth_fraction: f64,
    /// Share of memory bandwidth that the optimizer reaches.
    pub optimizer_bandwidth_fraction: f64,

    // Formats.
    /// Format in which parameters are stored; that of compute when absent.
    #[serde(default)]
    pub parameter_dtype: Option<DType>,
    /// Format in which gradients accumulate.
    pub gradient_dtype: DType,
    /// Whether the software knows no other format of gradients, whatever a table of runs assumes.
    #[serde(default)]
    pub fixed_gradient_dtype: bool,
    /// Format in which gradients travel between replicas.
    pub gradient_reduce_dtype: DType,
    /// Format of the main copy of parameters; absent when the parameters themselves are it.
    #[serde(default)]
    pub main_parameter_dtype: Option<DType>,
    /// Format in which the parameters of a sharded plan are gathered; that of compute when absent.
    #[serde(default)]
    pub parameter_gather_dtype: Option<DType>,
    /// Format of the optimizer's moments.
    pub moment_dtype: DType,

    // Narrow formats.
    /// How scales of fp8 tensors are found.
    #[serde(default)]
    pub fp8_scaling: Fp8Scaling,
    /// Whether parameters of linear layers are kept, and travel between replicas, in the narrow
    /// format that products use (Megatron-core `--fp8-param-gather`).
    #[serde(default)]
    pub narrow_parameters: bool,

    // Communication.
    /// How and when gradients are reduced.
    pub gradient_reduce: GradientReduce,
    /// Size of a gradient bucket.
    pub gradient_bucket: Bytes,
    /// How gradients get to the ranks that update shards of the parameters (ZeRO-1); by
    /// reduce-scatter when absent.
    #[serde(default)]
    pub sharded_gradients: ShardedGradients,
    /// Time of a gradient reduction over that of its collective: buckets that are flattened, scaled
    /// and copied back one after the other do not keep the network busy; 1 when absent.
    #[serde(default = "one")]
    pub gradient_reduce_time_factor: f64,
    /// Whether gradient reduction runs beside backward.
    pub overlap_gradient_reduce: bool,
    /// Whether the parameter all-gather of ZeRO-1 and 2 runs beside the next forward.
    pub overlap_parameter_gather: bool,
    /// Share of a tensor-parallel gather that pipelines with its GEMM (0 for none); of a scatter
    /// it is less by the last of tp parts.
    pub overlap_tp_fraction: f64,
    /// Whether a GEMM whose input is gathered first multiplies the rank's own part of it, beside
    /// the gather.
    #[serde(default)]
    pub overlap_tp_own_part: bool,
    /// Whether the gradient of a column-parallel input is reduced beside its wgrad GEMM.
    pub overlap_tp_wgrad: bool,
    /// Whether pipeline sends and receives run beside compute.
    pub overlap_p2p: bool,
    /// Whether pipeline tensors are cut over tp ranks for the wire and gathered after.
    pub p2p_scatter_gather: bool,
    /// Whether the host of either end waits for each pipeline transfer before it goes on.
    #[serde(default)]
    pub synchronous_transfers: bool,
    /// How layers are spread over pipeline stages where the plan does not say; evenly when absent.
    #[serde(default)]
    pub pipeline_balance: PipelineBalance,
    /// Layers whose parameters FSDP gathers ahead of use.
    pub fsdp_prefetch: u64,
    /// What FSDP copies around its collectives; nothing when absent.
    #[serde(default)]
    pub fsdp_copies: FsdpCopies,
    /// Whether what is scaled by row is quantised after it was gathered over tensor-parallel ranks,
    /// whole and once for each matrix, so that it travels in 16 bits (torchao); else in parts
    /// before.
    #[serde(default)]
    pub rowwise_after_gather: bool,
    /// How ranks get the parameters that others updated, with `plan.zero` 1 and 2; by an all-gather
    /// when absent.
    #[serde(default)]
    pub parameter_exchange: ParameterExchange,
    /// Order of axes over ranks, fastest first.
    pub rank_order: Vec<MeshAxis>,

    // Interference.
    /// Time of memory-bound kernels beside communication over time alone.
    pub memory_kernel_slowdown: f64,
    /// Time of GEMM and attention kernels beside communication over time alone.
    pub compute_kernel_slowdown: f64,
    /// Time of communication beside compute over time alone.
    pub communication_slowdown: f64,

    /// Time of kernels while a receive is posted and waits for its sender over time alone: the
    /// waiting kernel of NCCL holds its SMs. 1 where nothing is posted ahead of its use.
    #[serde(default = "one")]
    pub posted_receive_slowdown: f64,
    /// Growth of the time of kernels, relative, for each e-fold of ranks that wait for each other:
    /// the slowest of n ranks whose delays have an exponential tail is `ln n` of its mean late.
    #[serde(default)]
    pub straggler_fraction: f64,
    /// Time of this release's kernels over those that were measured: libraries get faster.
    #[serde(default = "one")]
    pub kernel_time_factor: f64,

    /// The same of products in fp8 and fp4, on top.
    #[serde(default = "one")]
    pub narrow_product_time_factor: f64,

    // Host.
    /// Host time to launch one kernel in forward.
    pub launch_cost: Seconds,
    /// Host time to launch one kernel in backward.
    pub backward_launch_cost: Seconds,
    /// Host time to launch one collective.
    pub collective_launch_cost: Seconds,
    /// Added host time of a tensor-parallel collective for each rank of its group, in jobs whose
    /// pipeline transfers cross nodes; none when absent.
    #[serde(default)]
    pub crowded_collective_launch_cost: Seconds,
    /// Whether layers replay as CUDA graphs, so that a layer costs one launch.
    pub cuda_graph: bool,
    /// Launches that may wait on the device before a launch call blocks.
    pub launch_queue_depth: u64,
    /// Host time a step outside launches: data, logging, learning-rate schedule.
    pub step_host_time: Seconds,
    /// Host time a micro-batch outside launches.
    pub micro_batch_host_time: Seconds,
    /// Host time of a pipeline transfer at its receiver: shapes sent ahead, allocation; none when
    /// absent.
    #[serde(default)]
    pub transfer_host_time: Seconds,
    /// Host time a step for each parameter tensor of a rank: loops over tensors around the
    /// optimizer; none when absent.
    #[serde(default)]
    pub tensor_host_time: Seconds,
    /// Host time for each parameter tensor and each rank of its shard group when updated parameters
    /// are gathered tensor by tensor; none when absent.
    #[serde(default)]
    pub gather_slice_host_time: Seconds,
    /// Whether the host waits for the device at the end of each step (loss or gradient-norm read).
    pub synchronise_each_step: bool,

    // Memory.
    /// Memory of the CUDA context, libraries and framework.
    pub context_memory: Bytes,
    /// Buffers of one communicator.
    pub communicator_memory: Bytes,
    /// Layers of a stage that full recomputation covers where the plan does not say: recipes with
    /// `--recompute-method block` cover few. All when absent.
    #[serde(default)]
    pub block_recompute_layers: Option<u64>,
    /// Workspace of the GEMM library.
    pub workspace_memory: Bytes,
    /// Share by which the caching allocator's reservation exceeds what is allocated.
    pub allocator_overhead_fraction: f64,

    // Mixture of experts.
    /// How tokens get to the ranks of their experts; the pairwise all-to-all when absent.
    #[serde(default)]
    pub dispatcher: Dispatcher,
    /// Whether scores, top-k and their normalisation are few kernels (Transformer Engine's router
    /// fusion); a chain when absent.
    #[serde(default)]
    pub fused_router: bool,
    /// Whether rows are put in order without a sort of their own (permute fusion).
    #[serde(default)]
    pub fused_permute: bool,
    /// Share of memory bandwidth that putting rows in the order of their experts reaches.
    #[serde(default = "permute_fraction")]
    pub permute_bandwidth_fraction: f64,
    /// Whether one launch multiplies all experts of a rank; when absent each expert is a launch
    /// (Transformer Engine's `GroupedLinear`: cuBLAS on several streams).
    #[serde(default)]
    pub fused_grouped_gemm: bool,
    /// Whether rotary embedding of latent attention is a kernel for queries and one for keys and
    /// values (Megatron-core's experimental fusion); a chain of slices and copies when absent.
    #[serde(default)]
    pub fused_latent_rotary: bool,
    /// Whether shared experts run beside the exchange of tokens.
    #[serde(default)]
    pub overlap_shared_experts: bool,
    /// Share of the exchanges of tokens that runs beside the compute of another micro-batch;
    /// none when absent.
    #[serde(default)]
    pub overlap_exchange_fraction: f64,

    /// Where each number comes from, by key.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

/// Where the gradient of a weight, in the format of compute, lives before it is in the gradient
/// buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightGradient {
    /// It is dropped as soon as it has been accumulated. Where the product itself accumulates,
    /// autograd is still handed an empty tensor of that size (Megatron-LM's
    /// `LinearWithGradAccumulationAndAsyncCommunication`).
    #[default]
    Transient,
    /// That empty tensor is kept for good, one for each shape of a layer's weights (Transformer
    /// Engine's `get_dummy_wgrad`).
    KeptByShape,
    /// Gradients of all weights stay until the backward of the micro-batch has ended, and are
    /// accumulated then (nanotron's `FP32GradientAccumulator`, DeepSpeed's `BF16_Optimizer`), where
    /// the buffer has another format; else autograd accumulates.
    UntilBackwardEnds,
}

fn one() -> f64 {
    1.0
}

/// `MooreThreads/SimuMax` measured 0.19 to 0.46 of the peak forward and 0.19 to 0.22 backward on
/// A100 (`docs/system.md` and `simu_tools`).
fn permute_fraction() -> f64 {
    0.3
}

/// What selective recomputation repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelectiveRecompute {
    /// The attention core (Korthikanti et al. 2022, section 5).
    #[default]
    AttentionCore,
    /// All but the attention core and every other product (torchtitan's per-operator policy).
    Operators,
    /// Every other layer, whole.
    AlternateLayers,
}

/// Copies around the collectives of fully sharded parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FsdpCopies {
    /// None.
    #[default]
    None,
    /// A cast of the gradients before a reduction in a wider format (FSDP1: flat parameters are
    /// gathered and scattered in place).
    Cast,
    /// Parameters out of the gathered buffer, gradients into the scattered one (FSDP2: parameters
    /// are tensors of their own).
    Both,
}

/// How updated parameters get to the ranks that did not update them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterExchange {
    /// One all-gather of equal parts.
    #[default]
    AllGather,
    /// Each rank updates whole matrices and broadcasts them (InternEvo).
    Broadcast,
}

/// How the scale of an fp8 tensor is found before it is quantised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fp8Scaling {
    /// From maxima of steps before, which quantisation itself keeps (Transformer Engine
    /// `DelayedScaling`): one pass.
    #[default]
    Delayed,
    /// From the tensor at hand (`Float8CurrentScaling`): a pass for its maximum comes first.
    Current,
}

/// How gradients are reduced over replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GradientReduce {
    /// Buckets as large as `gradient_bucket`.
    Bucketed,
    /// One collective over all gradients of a stage.
    Whole,
}

/// How gradients get to the ranks that update shards of the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShardedGradients {
    /// Reduce-scatter, as early as gradients are reduced without sharding.
    #[default]
    ReduceScatter,
    /// One all-reduce of all gradients after the last backward; updated parameters are gathered
    /// before the step ends.
    AllReduceAtEnd,
}

/// How layers are spread over pipeline stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PipelineBalance {
    /// As many layers on each.
    #[default]
    Layers,
    /// As much arithmetic on each, the output projection included: a stage is full once all that is
    /// placed exceeds the share of the stages so far (nanotron `models/base.py`, `build_model`).
    Compute,
}

/// An axis of the rank mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeshAxis {
    /// Tensor parallelism.
    Tp,
    /// Context parallelism.
    Cp,
    /// Data parallelism.
    Dp,
    /// Pipeline parallelism.
    Pp,
}
