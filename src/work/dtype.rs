//! Number formats.

/// A number format as kernels compute in it or memory holds it.
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
pub enum DType {
    /// IEEE single precision.
    Fp32,
    /// Single precision storage, tensor-core products with 10-bit mantissas.
    Tf32,
    /// IEEE half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit float, one scale a tensor.
    Fp8,
    /// 8-bit float, one scale a row of activations and of weights.
    Fp8Rowwise,
    /// 8-bit float, one scale a 1x128 or 128x128 block.
    Fp8Blockwise,
    /// OCP microscaling 8-bit float, one 8-bit scale per 32 values.
    Mxfp8,
    /// 4-bit float, one 8-bit scale per 16 values.
    Nvfp4,
}

impl DType {
    /// Bytes a value takes in memory, its share of the block scales included.
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Fp32 | Self::Tf32 => 4.0,
            Self::Fp16 | Self::Bf16 => 2.0,
            Self::Fp8 | Self::Fp8Rowwise => 1.0,
            Self::Fp8Blockwise => 1.0 + 4.0 / 128.0,
            Self::Mxfp8 => 1.0 + 1.0 / 32.0,
            Self::Nvfp4 => 0.5 + 1.0 / 16.0,
        }
    }

    /// Whether operands must be quantised from a wider format first.
    pub const fn is_quantised(self) -> bool {
        matches!(
            self,
            Self::Fp8 | Self::Fp8Rowwise | Self::Fp8Blockwise | Self::Mxfp8 | Self::Nvfp4
        )
    }

    /// Name as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp8Rowwise => "fp8_rowwise",
            Self::Fp8Blockwise => "fp8_blockwise",
            Self::Mxfp8 => "mxfp8",
            Self::Nvfp4 => "nvfp4",
        }
    }
}
