//! A rank's share of an operation: the kernels it launches, cut by tensor, sequence and context
//! parallelism.

use super::experts::ExpertShard;
use crate::graph::{Operation, OperationKind, Parallel, Region, ScoreProduct, Traffic};
use crate::spec::{ContextParallel, Scenario};
use crate::units::Bytes;
use crate::work::{DType, GemmLayout, Kernel, MemoryKernel, Pass};

/// The sizes of a rank's share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shard {
    /// Tensor-parallel ranks.
    pub tp: u64,
    /// Context-parallel ranks.
    pub cp: u64,
    /// How context-parallel ranks exchange.
    pub cp_kind: ContextParallel,
    /// Whether the residual stream is cut along the sequence over tensor-parallel ranks.
    pub sequence_parallel: bool,
    /// How experts are cut.
    pub experts: ExpertShard,
    /// Sequences of a micro-batch.
    pub micro_batch: u64,
    /// Tokens of a sequence, over all context-parallel ranks.
    pub sequence_length: u64,
    /// Format of activations.
    pub activation: DType,
    /// Format of the operands of linear layers.
    pub linear: DType,
    /// Format of the weight gradient that the wgrad GEMM writes.
    pub gradient: DType,
    /// Whether the wgrad GEMM adds into the gradient buffer.
    pub fused_accumulation: bool,
}

/// What context parallelism exchanges around an attention core, in bytes of this rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CpExchange {
    /// Keys and values to the next rank, before each step but the first.
    Ring {
        /// Keys and values of a rank.
        bytes: Bytes,
        /// Steps in all.
        steps: u64,
        /// Queries of a rank, as large as its outputs.
        queries: Bytes,
    },
    /// Keys and values of all ranks, before the core (gathered size).
    AllGather {
        /// Keys and values of all ranks.
        bytes: Bytes,
    },
    /// Queries, keys and values before the core, outputs after it (buffer of this rank).
    Ulysses {
        /// Before.
        before: Bytes,
        /// After.
        after: Bytes,
    },
}

impl Shard {
    /// From a scenario whose plan divides its model.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (plan, training) = (&scenario.plan, &scenario.training);
        Self {
            tp: plan.tp,
            cp: plan.cp,
            cp_kind: plan.cp_kind,
            sequence_parallel: plan.sequence_parallel && plan.tp > 1,
            experts: ExpertShard::new(scenario),
            micro_batch: training.micro_batch,
            sequence_length: training.sequence_length,
            activation: training.precision.activation(),
            linear: training.precision.linear(),
            gradient: scenario.stack.gradient_dtype,
            fused_accumulation: scenario.stack.fused_gradient_accumulation,
        }
    }

    /// Tokens of a micro-batch on a rank, the whole tensor-parallel group together.
    pub fn tokens(&self) -> u64 {
        self.micro_batch * self.sequence_length / self.cp
    }

    /// Share of the full width (or of the tokens) that a rank holds in a region.
    pub fn fraction(&self, region: Region) -> f64 {
        match region {
            Region::Tensor => 1.0 / self.tp as f64,
            Region::Sequence if self.sequence_parallel => 1.0 / self.tp as f64,
            Region::Sequence => 1.0,
            Region::Experts => self.fraction(Region::Sequence) * self.experts.etp as f64,
        }
    }

    /// Bytes on a rank of something that has `bytes_per_token` over the whole width of a region.
    pub fn bytes(&self, region: Region, bytes_per_token: f64) -> Bytes {
        Bytes::new(self.tokens() as f64 * bytes_per_token * self.fraction(region))
    }

    /// Bytes a rank keeps for the backward of an operation; `selective` drops the scores.
    pub fn saved(&self, operation: &Operation, selective: bool) -> Bytes {
        let scores = if selective { 0.0 } else { self.scores() / self.tp as f64 };
        self.bytes(Region::Sequence, operation.saved.sequence)
            + self.bytes(Region::Tensor, operation.saved.tensor)
            + self.bytes(Region::Experts, operation.saved.experts)
            + Bytes::new(operation.saved.score * scores * self.heads_of(operation))
            + self.exchanged_output(operation)
    }

    /// The core's output as Ulysses keeps it before the exchange; what the projection keeps is
    /// another tensor, after it.
    fn exchanged_output(&self, operation: &Operation) -> Bytes {
        let is_core = matches!(operation.kind, OperationKind::Attention { .. });
        if is_core && self.cp > 1 && self.cp_kind == ContextParallel::Ulysses {
            self.bytes(operation.region, operation.output)
        } else {
            Bytes::ZERO
        }
    }

    /// Query-by-key pairs of a micro-batch on a rank, for one head.
    fn scores(&self) -> f64 {
        self.tokens() as f64 * self.sequence_length as f64
    }

    fn heads_of(&self, operation: &Operation) -> f64 {
        match operation.kind {
            OperationKind::ScorePass { heads, .. } | OperationKind::Scores { heads, .. } => {
                heads as f64
            }
            _ => 0.0,
        }
    }

    /// Sizes of a linear layer on a rank: input and output width.
    pub fn linear_widths(&self, input: u64, output: u64, parallel: Parallel) -> (u64, u64) {
        match parallel {
            Parallel::Column => (input, output.div_ceil(self.tp)),
            Parallel::Row => (input.div_ceil(self.tp), output),
            Parallel::Whole => (input, output),
        }
    }

    /// Rows of a linear layer on a rank: a matrix that is cut meets the tokens of all
    /// tensor-parallel ranks, a whole one those of its own.
    pub fn linear_rows(&self, parallel: Parallel) -> u64 {
        match parallel {
            Parallel::Whole => (self.own_tokens().round() as u64).max(1),
            Parallel::Column | Parallel::Row => self.tokens(),
        }
    }

    pub(super) fn gemm(
        &self,
        sizes: [u64; 3],
        batch: u64,
        dtype: DType,
        layout: GemmLayout,
    ) -> Kernel {
        let [m, n, k] = sizes;
        let output = if layout == GemmLayout::Nt { self.gradient } else { self.activation };
        Kernel::Gemm {
            m,
            n,
            k,
            batch,
            dtype,
            output,
            layout,
            accumulate: layout == GemmLayout::Nt && self.fused_accumulation,
        }
    }

    /// The forward product of a linear layer.
    pub fn linear_forward(&self, rows: u64, (input, output): (u64, u64), dtype: DType) -> Kernel {
        self.gemm([rows, output, input], 1, dtype, GemmLayout::Tn)
    }

    /// The product for the gradient of a linear layer's input.
    pub fn linear_dgrad(&self, rows: u64, (input, output): (u64, u64), dtype: DType) -> Kernel {
        self.gemm([rows, input, output], 1, dtype, GemmLayout::Nn)
    }

    /// The product for the gradient of a linear layer's weight.
    pub fn linear_wgrad(&self, rows: u64, (input, output): (u64, u64), dtype: DType) -> Kernel {
        self.gemm([output, input, rows], 1, dtype, GemmLayout::Nt)
    }

    /// The kernels of an attention core, score product or pass; empty for the rest.
    pub fn local_kernels(&self, operation: &Operation, pass: Pass) -> Vec<Kernel> {
        match operation.kind {
            OperationKind::Attention { heads, kv_heads, kernel_dim, window, family, .. } => {
                let shape = AttentionShape {
                    heads: heads / self.tp,
                    kv_heads: (kv_heads / self.tp).max(1),
                };
                self.attention_steps(shape)
                    .into_iter()
                    .map(|(lengths, causal, shape)| {
                        let (key_length, causal) = windowed(lengths[1], causal, window);
                        Kernel::Attention {
                            family,
                            pass,
                            batch: self.micro_batch,
                            query_length: lengths[0],
                            key_length,
                            heads: shape.heads,
                            kv_heads: shape.kv_heads,
                            head_dim: kernel_dim,
                            causal,
                            dtype: self.activation,
                        }
                    })
                    .collect()
            }
            OperationKind::Scores { heads, head_dim, product } => {
                self.score_products(heads / self.tp, head_dim, product, pass)
            }
            OperationKind::ScorePass { kind, heads, forward, backward } => {
                let scores = self.scores() * (heads / self.tp) as f64;
                passes(kind, if pass == Pass::Forward { forward } else { backward }, scores)
            }
            OperationKind::Pass { kind, region, forward, backward } => {
                let tokens = self.tokens() as f64 * self.fraction(region);
                passes(kind, if pass == Pass::Forward { forward } else { backward }, tokens)
            }
            OperationKind::Linear { .. }
            | OperationKind::Grouped { .. }
            | OperationKind::Exchange { .. }
            | OperationKind::EmbeddingReduce { .. }
            | OperationKind::LossReduce { .. } => Vec::new(),
        }
    }

    /// Attention kernels of a rank: query and key lengths, causality, heads.
    ///
    /// A ring gives each rank two chunks of the sequence, one from the front and one from the
    /// back, so that causal work is even: one causal block, then blocks of which half is needed
    /// (Megatron-LM and Transformer Engine's load-balanced context parallelism).
    fn attention_steps(&self, shape: AttentionShape) -> Vec<([u64; 2], bool, AttentionShape)> {
        let (whole, own) = (self.sequence_length, self.sequence_length / self.cp);
        if self.cp == 1 {
            return vec![([whole, whole], true, shape)];
        }
        match self.cp_kind {
            ContextParallel::Ring => {
                let mut steps = vec![([own, own], true, shape)];
                steps.resize(self.cp as usize, ([own, own / 2], false, shape));
                steps
            }
            ContextParallel::AllGather => vec![([own, whole], true, shape)],
            ContextParallel::Ulysses => {
                let shape = AttentionShape {
                    heads: shape.heads / self.cp,
                    kv_heads: (shape.kv_heads / self.cp).max(1),
                };
                vec![([whole, whole], true, shape)]
            }
        }
    }

    /// Forward is one product, backward two, of the same arithmetic each.
    fn score_products(
        &self,
        heads: u64,
        head_dim: u64,
        product: ScoreProduct,
        pass: Pass,
    ) -> Vec<Kernel> {
        let (queries, keys) = (self.sequence_length / self.cp, self.sequence_length);
        let batch = self.micro_batch * heads;
        let gemm = |sizes, layout| {
            let mut kernel = self.gemm(sizes, batch, self.activation, layout);
            if let Kernel::Gemm { output, accumulate, .. } = &mut kernel {
                (*output, *accumulate) = (self.activation, false);
            }
            kernel
        };
        let (tn, nn, nt) = (GemmLayout::Tn, GemmLayout::Nn, GemmLayout::Nt);
        match (product, pass) {
            (ScoreProduct::QueryKey, Pass::Forward) => vec![gemm([queries, keys, head_dim], tn)],
            (ScoreProduct::QueryKey, Pass::Backward) => {
                vec![gemm([queries, head_dim, keys], nn), gemm([keys, head_dim, queries], nt)]
            }
            (ScoreProduct::ProbabilityValue, Pass::Forward) => {
                vec![gemm([queries, head_dim, keys], nn)]
            }
            (ScoreProduct::ProbabilityValue, Pass::Backward) => {
                vec![gemm([queries, keys, head_dim], tn), gemm([keys, head_dim, queries], nt)]
            }
        }
    }

    /// What context parallelism exchanges around an attention core; `None` without it.
    pub fn cp_exchange(&self, operation: &Operation) -> Option<CpExchange> {
        let (heads, kv_heads, head_dim) = match operation.kind {
            OperationKind::Attention { heads, kv_heads, head_dim, .. } => {
                (heads, kv_heads, head_dim)
            }
            OperationKind::Scores { heads, head_dim, product: ScoreProduct::QueryKey } => {
                (heads, heads, head_dim)
            }
            _ => return None,
        };
        if self.cp == 1 {
            return None;
        }
        let per_head = self.tokens() as f64 * head_dim as f64 * self.activation.bytes();
        let query = per_head * (heads / self.tp) as f64;
        let key_value = 2.0 * per_head * (kv_heads / self.tp).max(1) as f64;
        Some(match self.cp_kind {
            ContextParallel::Ring => {
                let queries = Bytes::new(query);
                CpExchange::Ring { bytes: Bytes::new(key_value), steps: self.cp, queries }
            }
            ContextParallel::AllGather => {
                CpExchange::AllGather { bytes: Bytes::new(key_value * self.cp as f64) }
            }
            ContextParallel::Ulysses => CpExchange::Ulysses {
                before: Bytes::new(query + key_value),
                after: Bytes::new(query),
            },
        })
    }
}

/// Heads of an attention kernel on a rank.
#[derive(Clone, Copy)]
struct AttentionShape {
    heads: u64,
    kv_heads: u64,
}

/// Keys of a kernel under a window, and whether half of the scores are masked: within a window
/// each query sees as many keys.
fn windowed(keys: u64, causal: bool, window: Option<u64>) -> (u64, bool) {
    match window {
        Some(window) if causal && 2 * window < keys => (window, false),
        _ => (keys, causal),
    }
}

/// Traffic spread over the kernels that share it.
fn passes(kind: MemoryKernel, traffic: Traffic, count: f64) -> Vec<Kernel> {
    let share = count / f64::from(traffic.launches.max(1));
    let kernel = Kernel::Memory {
        kind,
        read: Bytes::new(traffic.read * share),
        write: Bytes::new(traffic.write * share),
    };
    vec![kernel; traffic.launches as usize]
}
