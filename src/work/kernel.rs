//! Kernels of one GPU.

use super::{Class, DType};
use crate::units::{Bytes, Flops};

/// Direction of a step that a kernel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Forward.
    Forward,
    /// Backward.
    Backward,
}

/// Which operand of a GEMM is transposed, which is what tells forward, dgrad and wgrad apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GemmLayout {
    /// `y[m,n] = x[m,k] w[n,k]^T`: forward.
    Tn,
    /// `dx[m,n] = dy[m,k] w[k,n]`: gradient of the input.
    Nn,
    /// `dw[m,n] += dy[k,m]^T x[k,n]`: gradient of the weight.
    Nt,
}

/// Implementation of the attention core.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AttentionFamily {
    /// Batched GEMMs and a softmax over a score matrix in memory.
    Unfused,
    /// FlashAttention 1 (Dao et al. 2022).
    Flash1,
    /// FlashAttention 2 (Dao 2023).
    Flash2,
    /// FlashAttention 3 (Shah et al. 2024).
    Flash3,
    /// cuDNN fused attention.
    Cudnn,
}

impl AttentionFamily {
    /// Name as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unfused => "unfused",
            Self::Flash1 => "flash1",
            Self::Flash2 => "flash2",
            Self::Flash3 => "flash3",
            Self::Cudnn => "cudnn",
        }
    }
}

/// Kinds of kernels bound by memory bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKernel {
    /// Layer norm or RMS norm.
    Norm,
    /// GELU, SwiGLU and the like, with a fused bias where the stack fuses it.
    Activation,
    /// Rotary position embedding.
    Rotary,
    /// Residual addition, with fused bias and dropout where the stack fuses them.
    Residual,
    /// Bias, dropout or scaling as a pass of its own.
    Pointwise,
    /// Softmax over attention scores.
    Softmax,
    /// Cross-entropy over the vocabulary.
    CrossEntropy,
    /// Embedding gather or scatter-add.
    Embedding,
    /// Optimizer update.
    Optimizer,
    /// Norm of the gradients, clipping.
    GradientNorm,
    /// Conversion between formats.
    Cast,
    /// Quantisation to fp8 or fp4 with its scales.
    Quantise,
    /// Copies, transposes, zero fills, gradient accumulation.
    Copy,
    /// Rows into the order of their experts and back.
    Permute,
}

impl MemoryKernel {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Norm,
        Self::Activation,
        Self::Rotary,
        Self::Residual,
        Self::Pointwise,
        Self::Softmax,
        Self::CrossEntropy,
        Self::Embedding,
        Self::Optimizer,
        Self::GradientNorm,
        Self::Cast,
        Self::Quantise,
        Self::Copy,
        Self::Permute,
    ];

    /// Name for reports and fits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Norm => "norm",
            Self::Activation => "activation",
            Self::Rotary => "rotary",
            Self::Residual => "residual",
            Self::Pointwise => "pointwise",
            Self::Softmax => "softmax",
            Self::CrossEntropy => "cross_entropy",
            Self::Embedding => "embedding",
            Self::Optimizer => "optimizer",
            Self::GradientNorm => "gradient_norm",
            Self::Cast => "cast",
            Self::Quantise => "quantise",
            Self::Copy => "copy",
            Self::Permute => "permute",
        }
    }

    /// The class under which reports list it.
    pub const fn class(self) -> Class {
        match self {
            Self::Norm => Class::Norm,
            Self::Activation
            | Self::Rotary
            | Self::Residual
            | Self::Pointwise
            | Self::Copy
            | Self::Permute => Class::Elementwise,
            Self::Softmax => Class::Attention,
            Self::CrossEntropy => Class::Loss,
            Self::Embedding => Class::Embedding,
            Self::Optimizer | Self::GradientNorm => Class::Optimizer,
            Self::Cast | Self::Quantise => Class::Cast,
        }
    }
}

/// One kernel on one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// `batch` matrix products of `[m,k] x [k,n]`.
    Gemm {
        /// Rows of the result.
        m: u64,
        /// Columns of the result.
        n: u64,
        /// Length of the inner products.
        k: u64,
        /// Independent products in one launch.
        batch: u64,
        /// Format of the operands.
        dtype: DType,
        /// Format of the result.
        output: DType,
        /// Which operand is transposed.
        layout: GemmLayout,
        /// Whether the result is added to what is in memory.
        accumulate: bool,
    },
    /// A fused attention core.
    Attention {
        /// Implementation.
        family: AttentionFamily,
        /// Forward or backward.
        pass: Pass,
        /// Sequences.
        batch: u64,
        /// Queries a sequence.
        query_length: u64,
        /// Keys a sequence.
        key_length: u64,
        /// Query heads on this GPU.
        heads: u64,
        /// Key and value heads on this GPU.
        kv_heads: u64,
        /// Width of a head.
        head_dim: u64,
        /// Whether half of the score matrix is masked and skipped.
        causal: bool,
        /// Format of the operands.
        dtype: DType,
    },
    /// A pass over memory.
    Memory {
        /// What it does.
        kind: MemoryKernel,
        /// Bytes read at least.
        read: Bytes,
        /// Bytes written at least.
        write: Bytes,
    },
}

impl Kernel {
    /// Arithmetic of the kernel; zero for passes over memory, whose arithmetic takes no time.
    ///
    /// Attention backward counts 2.5 times forward (five products instead of two), causal half.
    pub fn flops(&self) -> Flops {
        match *self {
            Self::Gemm { m, n, k, batch, .. } => {
                Flops::new(2.0 * m as f64 * n as f64 * k as f64 * batch as f64)
            }
            Self::Attention {
                pass,
                batch,
                query_length,
                key_length,
                heads,
                head_dim,
                causal,
                ..
            } => {
                let scores = batch as f64 * heads as f64 * query_length as f64 * key_length as f64;
                let forward = 4.0 * scores * head_dim as f64 * if causal { 0.5 } else { 1.0 };
                Flops::new(if pass == Pass::Backward { 2.5 * forward } else { forward })
            }
            Self::Memory { .. } => Flops::ZERO,
        }
    }

    /// Least traffic to memory: operands read once, results written once.
    pub fn bytes(&self) -> Bytes {
        match *self {
            Self::Gemm { m, n, k, batch, dtype, output, accumulate, .. } => {
                let (m, n, k) = (m as f64, n as f64, k as f64);
                let operands = (m * k + n * k) * dtype.bytes();
                let results = m * n * output.bytes() * if accumulate { 2.0 } else { 1.0 };
                Bytes::new(batch as f64 * (operands + results))
            }
            Self::Attention {
                pass,
                batch,
                query_length,
                key_length,
                heads,
                kv_heads,
                head_dim,
                dtype,
                ..
            } => {
                let row = batch as f64 * head_dim as f64 * dtype.bytes();
                let query = row * query_length as f64 * heads as f64;
                let key = row * key_length as f64 * kv_heads as f64;
                // Forward reads q, k, v and writes o; backward also reads o and the gradient of o
                // and writes those of q, k, v.
                Bytes::new(match pass {
                    Pass::Forward => 2.0 * query + 2.0 * key,
                    Pass::Backward => 4.0 * query + 4.0 * key,
                })
            }
            Self::Memory { read, write, .. } => read + write,
        }
    }

    /// The class under which reports list it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Gemm { .. } => Class::Gemm,
            Self::Attention { .. } => Class::Attention,
            Self::Memory { kind, .. } => kind.class(),
        }
    }
}
