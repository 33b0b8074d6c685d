//! What differs between GPU architectures beyond their rates.

/// Constants of an architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Architecture {
    /// How much of a started wave of GEMM tiles is paid in whole: 1 keeps whole waves.
    pub(super) gemm_quantisation: f64,
    /// Inner-product length whose time a GEMM tile pays for its prologue and epilogue.
    pub(super) gemm_overhead_k: f64,
    /// The same as `gemm_quantisation` for the blocks of fused attention.
    pub(super) attention_quantisation: f64,
    /// Key length whose time a block of queries pays for prologue, diagonal and epilogue.
    pub(super) attention_overhead_keys: f64,
    /// Width of a head at which the work per score that does not grow with it (exponentials,
    /// scaling) takes as long as the products.
    pub(super) attention_overhead_width: f64,
    /// Width of head up to which products get cheaper by it; wider heads leave room for smaller
    /// blocks only.
    pub(super) attention_best_width: f64,
    /// Whether the attention fractions of the GPU are those of FlashAttention 3 or newer (else of
    /// FlashAttention 2, the best that the architecture runs).
    pub(super) has_flash3: bool,
}

impl Architecture {
    /// Constants of an architecture by the name its GPU file gives; those of ampere for others.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "hopper" => Self::HOPPER,
            "blackwell" => Self::BLACKWELL,
            _ => Self::AMPERE,
        }
    }

    /// GEMM: tile and wave fits of 5,477 measured A100 shapes (aiconfigurator 095f58a: q 0.8, ks
    /// 90-160). Attention: FlashAttention 2 rates of the same source at 1k-16k tokens, 149, 178,
    /// 194, 202, 206 TFLOP/s, are 210/(1 + 2 x 210/s); blocks are not persistent, so q is 1. Width:
    /// Dao 2023, figures 5 and 6 (head 64 runs at 0.85-0.9 of head 128; recalled).
    const AMPERE: Self = Self {
        gemm_quantisation: 0.8,
        gemm_overhead_k: 120.0,
        attention_quantisation: 1.0,
        attention_overhead_keys: 200.0,
        attention_overhead_width: 24.0,
        attention_best_width: 128.0,
        has_flash3: false,
    };

    /// As [`Self::AMPERE`]; persistent kernels soften the last wave (q 0.15 for GEMMs, 0.2 for
    /// FlashAttention 3). Rates at 1k-16k tokens 340, 456, 520, 559, 592 TFLOP/s. Width: Shah et
    /// al. 2024, forward at 16k tokens: 501, 659 TFLOP/s with heads of 64, 128; heads of 256
    /// gain no more than those of 192 (aiconfigurator).
    const HOPPER: Self = Self {
        gemm_quantisation: 0.15,
        gemm_overhead_k: 120.0,
        attention_quantisation: 0.2,
        attention_overhead_keys: 350.0,
        attention_overhead_width: 58.0,
        attention_best_width: 192.0,
        has_flash3: true,
    };

    /// As [`Self::AMPERE`]; the GEMM q, between the two, is assumed. Attention rates of B200 at
    /// 1k-16k tokens 624, 881, 1063, 1167, 1209 TFLOP/s; width: FlashAttention 4 and cuDNN issue
    /// threads, head 64 at 0.56-0.66 of head 128.
    const BLACKWELL: Self = Self {
        gemm_quantisation: 0.3,
        gemm_overhead_k: 120.0,
        attention_quantisation: 1.0,
        attention_overhead_keys: 400.0,
        attention_overhead_width: 150.0,
        attention_best_width: 128.0,
        has_flash3: true,
    };
}
