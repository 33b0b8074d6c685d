//! One operation of a step.

use crate::units::Flops;
use crate::work::{AttentionFamily, ExchangePhase, MemoryKernel};

/// Which part of the activations an operation works on, which decides how tensor parallelism
/// cuts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The residual stream: whole on every tensor-parallel rank, or cut along the sequence.
    Sequence,
    /// Between a column-parallel and a row-parallel layer: cut along heads, MLP or vocabulary.
    Tensor,
    /// Rows at their experts, over the whole width: as many as the residual stream of a rank has
    /// assignments, on each of the ranks that an expert is cut over.
    Experts,
}

/// How a linear layer's matrix is cut by tensor parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// Along its output; enters the tensor region.
    Column,
    /// Along its input; leaves the tensor region with a sum over ranks.
    Row,
    /// Not at all: each rank multiplies its part of the residual stream by the whole matrix.
    Whole,
}

/// Bytes that passes over memory move for a token, over the whole width.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes read.
    pub read: f64,
    /// Bytes written.
    pub write: f64,
    /// Kernels that share this traffic; none when zero.
    pub launches: u32,
}

impl Traffic {
    /// One kernel.
    pub const fn one(read: f64, write: f64) -> Self {
        Self { read, write, launches: 1 }
    }

    /// Several kernels.
    pub const fn chain(read: f64, write: f64, launches: u32) -> Self {
        Self { read, write, launches }
    }

    /// No kernel.
    pub const NONE: Self = Self { read: 0.0, write: 0.0, launches: 0 };
}

/// Bytes a token that forward keeps for backward, over the whole width.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Saved {
    /// In the residual stream's region.
    pub sequence: f64,
    /// In the tensor region.
    pub tensor: f64,
    /// In the tensor region, a score (query by key by head); dropped by selective recomputation.
    pub score: f64,
    /// Of rows at their experts, over the whole width.
    pub experts: f64,
    /// Not kept, but there while forward runs, beside output and what is kept; tensor region.
    pub forward_scratch: f64,
    /// There while backward runs, beside the gradients of output and input; tensor region. Negative
    /// where backward writes the gradient of the input over what was kept.
    pub backward_scratch: f64,
}

impl Saved {
    /// Bytes in one region.
    pub fn one(region: Region, bytes: f64) -> Self {
        let mut saved = Self::default();
        match region {
            Region::Sequence => saved.sequence = bytes,
            Region::Tensor => saved.tensor = bytes,
            Region::Experts => saved.experts = bytes,
        }
        saved
    }
}

/// The two products of the attention core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreProduct {
    /// Queries by keys: scores.
    QueryKey,
    /// Probabilities by values: outputs.
    ProbabilityValue,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OperationKind {
    /// A linear layer.
    Linear {
        /// Width of its input.
        input: u64,
        /// Width of its output.
        output: u64,
        /// How it is cut.
        parallel: Parallel,
        /// Whether it runs in the quantised format of the training precision.
        quantised: bool,
        /// Whether backward sums the gradient of a bias.
        bias: bool,
    },
    /// Products of each expert with the rows that go to it, in one launch.
    Grouped {
        /// Width of an expert's input.
        input: u64,
        /// Width of its output.
        output: u64,
        /// How its matrix is cut over expert-tensor-parallel ranks.
        parallel: Parallel,
        /// Experts in all.
        experts: u64,
        /// Experts that a token goes to.
        top_k: u64,
        /// Whether backward sums the gradient of a bias.
        bias: bool,
    },
    /// Tokens to the ranks of their experts, or results back.
    Exchange {
        /// Which of the two.
        phase: ExchangePhase,
        /// Bytes of a token.
        token_bytes: f64,
        /// Experts in all.
        experts: u64,
        /// Experts that a token goes to.
        top_k: u64,
    },
    /// A fused attention core.
    Attention {
        /// Query heads.
        heads: u64,
        /// Key and value heads.
        kv_heads: u64,
        /// Width of a head.
        head_dim: u64,
        /// Width of the equal heads that its kernels take as long as.
        kernel_dim: u64,
        /// Tokens that a query sees; all of them when absent.
        window: Option<u64>,
        /// Implementation.
        family: AttentionFamily,
    },
    /// A product of the unfused attention core.
    Scores {
        /// Query heads.
        heads: u64,
        /// Width of a head.
        head_dim: u64,
        /// Which of the two.
        product: ScoreProduct,
    },
    /// A pass over the score matrix; traffic is by score.
    ScorePass {
        /// What the kernel is.
        kind: MemoryKernel,
        /// Query heads.
        heads: u64,
        /// Forward, bytes a score.
        forward: Traffic,
        /// Backward, bytes a score.
        backward: Traffic,
    },
    /// A pass over activations; traffic is by token.
    Pass {
        /// What the kernel is.
        kind: MemoryKernel,
        /// Which activations.
        region: Region,
        /// Forward, bytes a token.
        forward: Traffic,
        /// Backward, bytes a token.
        backward: Traffic,
    },
    /// Sum over tensor-parallel ranks of the embedding's output, each rank having looked up its
    /// part of the vocabulary.
    EmbeddingReduce {
        /// Bytes a token.
        bytes: f64,
    },
    /// Sums of the vocabulary-parallel cross-entropy: maximum, target logit, sum of exponents.
    LossReduce {
        /// Bytes a token, each.
        bytes: f64,
        /// How many.
        count: u32,
    },
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// Name for traces.
    pub name: &'static str,
    /// What it does.
    pub kind: OperationKind,
    /// What it keeps for backward.
    pub saved: Saved,
    /// Bytes a token of its output, which lives at least until the next operation has run.
    pub output: f64,
    /// Where its output lives.
    pub region: Region,
    /// Whether it is part of the attention core, which selective recomputation repeats.
    pub attention_core: bool,
    /// Whether it needs nothing from the experts, and may run beside their exchanges.
    pub beside_exchange: bool,
}

impl Operation {
    /// Arithmetic of matrix products of forward on one sequence, whole scores.
    pub fn forward_flops(&self, sequence_length: u64) -> Flops {
        let tokens = sequence_length as f64;
        Flops::new(match self.kind {
            OperationKind::Linear { input, output, .. } => {
                2.0 * tokens * input as f64 * output as f64
            }
            OperationKind::Grouped { input, output, top_k, .. } => {
                2.0 * tokens * top_k as f64 * input as f64 * output as f64
            }
            OperationKind::Attention { heads, head_dim, window, .. } => {
                let keys = window.map_or(tokens, |window| tokens.min(window as f64));
                4.0 * tokens * keys * (heads * head_dim) as f64
            }
            OperationKind::Scores { heads, head_dim, .. } => {
                2.0 * tokens * tokens * (heads * head_dim) as f64
            }
            _ => 0.0,
        })
    }
}
