//! The batch, the precision and the optimizer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::work::DType;

/// What one step trains on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Tokens a sequence.
    pub sequence_length: u64,
    /// Sequences of one forward on one data-parallel replica.
    pub micro_batch: u64,
    /// Sequences a step, over all replicas.
    pub global_batch: u64,
    /// Format of matrix products; for fp8 and fp4 that of the linear layers, bf16 the rest.
    pub precision: Precision,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Whether gradients are clipped by their global norm.
    #[serde(default = "yes")]
    pub gradient_clipping: bool,
    /// Whether dropout runs; as the stack does by default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<bool>,
}

fn yes() -> bool {
    true
}

/// Training precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision (tf32 products where the GPU has them).
    Fp32,
    /// Half precision with fp32 main parameters.
    Fp16,
    /// bfloat16 with fp32 main parameters.
    Bf16,
    /// Linear layers in fp8, one scale a tensor.
    Fp8,
    /// Linear layers in fp8, one scale a row.
    Fp8Rowwise,
    /// Linear layers in fp8, one scale a block.
    Fp8Blockwise,
    /// Linear layers in microscaling fp8.
    Mxfp8,
    /// Linear layers in 4-bit float.
    Nvfp4,
}

impl Precision {
    /// Format of the operands of linear layers.
    pub const fn linear(self) -> DType {
        match self {
            Self::Fp32 => DType::Fp32,
            Self::Fp16 => DType::Fp16,
            Self::Bf16 => DType::Bf16,
            Self::Fp8 => DType::Fp8,
            Self::Fp8Rowwise => DType::Fp8Rowwise,
            Self::Fp8Blockwise => DType::Fp8Blockwise,
            Self::Mxfp8 => DType::Mxfp8,
            Self::Nvfp4 => DType::Nvfp4,
        }
    }

    /// Format of activations, attention, embedding and head.
    pub const fn activation(self) -> DType {
        match self {
            Self::Fp32 => DType::Fp32,
            Self::Fp16 => DType::Fp16,
            _ => DType::Bf16,
        }
    }
}

/// The optimizer, by what it keeps and moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam or AdamW: two moments a parameter.
    #[default]
    Adam,
    /// Stochastic gradient descent with momentum: one.
    Sgd,
}
