//! Fused attention: blocks of queries over the SMs, each running along its keys.

use super::architecture::Architecture;
use super::{Estimate, sane_fraction, smooth_maximum, waves};
use crate::spec::Gpu;
use crate::work::{AttentionFamily, DType, Pass};

/// Queries that one SM takes at a time (FlashAttention 2 and 3 with heads of up to 128).
const BLOCK_QUERIES: f64 = 128.0;

/// Width of head for which the GPU's fractions are given.
const REFERENCE_WIDTH: f64 = 128.0;

/// Keys, causal, at which the GPU's fractions are taken as reached.
const REFERENCE_KEYS: f64 = 8192.0;

/// Widths of head are padded to a multiple of this in registers and shared memory (FlashAttention 2
/// has kernels for 32, 64, 96, 128, 160, 192, 224, 256).
const WIDTH_STEP: f64 = 32.0;

/// Kernels beside the main one of backward: row sums of `do * o` before, the cast of dq after.
const BACKWARD_EXTRA_KERNELS: f64 = 2.0;

/// Dimensions of a fused attention; heads over all sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) query_heads: f64,
    pub(super) kv_heads: f64,
    pub(super) query_length: f64,
    pub(super) key_length: f64,
    pub(super) head_dim: f64,
    pub(super) causal: bool,
}

/// Facts of a GPU that attention times rest on, in SI units.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionForm {
    architecture: Architecture,
    floor: f64,
    sm_count: f64,
    bandwidth: f64,
    peak_fp32: f64,
    peak_fp16: f64,
    peak_bf16: f64,
    peak_fp8: f64,
    forward_fraction: f64,
    backward_fraction: f64,
}

impl AttentionForm {
    pub(super) fn new(gpu: &Gpu) -> Self {
        let architecture = Architecture::named(&gpu.architecture);
        let peak = |dtype| gpu.peak(dtype).unwrap_or(gpu.peak_fp32).value();
        // From the rate at the reference length to that of endless sequences.
        let asymptote = 1.0 + 2.0 * architecture.attention_overhead_keys / REFERENCE_KEYS;
        let fraction = |given: f64| sane_fraction(sane_fraction(given) * asymptote);
        Self {
            architecture,
            floor: gpu.kernel_floor.value(),
            sm_count: gpu.sm_count.max(1) as f64,
            bandwidth: gpu.memory_bandwidth.value() * sane_fraction(gpu.memory_bandwidth_fraction),
            peak_fp32: peak(DType::Tf32),
            peak_fp16: peak(DType::Fp16),
            peak_bf16: peak(DType::Bf16),
            peak_fp8: peak(DType::Fp8),
            forward_fraction: fraction(gpu.attention_forward_fraction),
            backward_fraction: fraction(gpu.attention_backward_fraction),
        }
    }

    /// `floor + smooth maximum of (waves x block, traffic / bandwidth)`, where a block of queries
    /// takes the time of its keys plus a constant number more, and causal blocks differ in length:
    /// the mean counts where there are many, the longest where there are few.
    pub(super) fn estimate(
        &self,
        shape: Shape,
        family: AttentionFamily,
        pass: Pass,
        dtype: DType,
    ) -> Estimate {
        let Shape { query_heads, kv_heads, query_length, key_length, head_dim, causal } = shape;
        let backward = pass == Pass::Backward;
        let products = if backward { 10.0 } else { 4.0 };
        let block_rate = self.rate(shape, family, pass, dtype) / self.sm_count;
        let block_time = |keys: f64| {
            let keys = keys + self.architecture.attention_overhead_keys;
            products * BLOCK_QUERIES * head_dim * keys / block_rate
        };
        let mean_keys = if causal { key_length / 2.0 } else { key_length };
        let blocks = query_heads * (query_length / BLOCK_QUERIES).ceil();
        let waves = waves(blocks, self.sm_count, self.architecture.attention_quantisation);
        // The overhead counts once a block, so the mean carries it whole.
        let compute = (waves * block_time(mean_keys)).max(block_time(key_length));

        let (queries, keys) =
            (query_heads * query_length * head_dim, kv_heads * key_length * head_dim);
        let bytes = dtype.bytes();
        let traffic = if backward {
            // Reads q, k, v, o, do; writes dq, dk, dv. dq gathers in fp32: zeroed, added to, read.
            (4.0 * queries + 4.0 * keys) * bytes + 3.0 * 4.0 * queries
        } else {
            2.0 * (queries + keys) * bytes
        };
        let (busy, memory_share) = smooth_maximum(compute, traffic / self.bandwidth);
        let launches = if backward { 1.0 + BACKWARD_EXTRA_KERNELS } else { 1.0 };
        let relative_error = if backward { 0.15 } else { 0.12 };
        Estimate::new(self.floor * launches, busy, memory_share, relative_error)
    }

    /// Rate of products on all SMs while a block runs along endless keys.
    fn rate(&self, shape: Shape, family: AttentionFamily, pass: Pass, dtype: DType) -> f64 {
        let peak = match dtype {
            DType::Fp32 | DType::Tf32 => self.peak_fp32,
            DType::Fp16 => self.peak_fp16,
            DType::Bf16 => self.peak_bf16,
            _ => self.peak_fp8,
        };
        let fraction = match pass {
            Pass::Forward => self.forward_fraction,
            Pass::Backward => self.backward_fraction,
        };
        let padded = (shape.head_dim / WIDTH_STEP).ceil().max(1.0) * WIDTH_STEP;
        let overhead = self.architecture.attention_overhead_width;
        let width = padded.min(self.architecture.attention_best_width);
        let gain = (1.0 + overhead / REFERENCE_WIDTH) / (1.0 + overhead / width);
        let family = self.family_efficiency(family, pass, shape.causal);
        peak * (fraction * (shape.head_dim / padded) * gain * family).min(1.0)
    }

    /// Rate of a family over that of the best one on this architecture.
    ///
    /// FlashAttention 2 against 3 on H100, 8k tokens, heads of 128: 370 and 284 TFLOP/s forward
    /// (full, causal) of 659 and 630; 291 and 287 backward of 554 and 532 (Shah et al. 2024 and
    /// flash-attention issue 1791). FlashAttention 1 against 2 on A100: about 0.6 forward, half in
    /// all (Dao 2023). Unfused attention never comes here as one kernel but in a trace that names
    /// it so; then it is as slow as FlashAttention 1.
    fn family_efficiency(&self, family: AttentionFamily, pass: Pass, causal: bool) -> f64 {
        let second = match (self.architecture.has_flash3, pass, causal) {
            (false, ..) => 1.0,
            (true, Pass::Forward, true) => 0.5,
            (true, Pass::Forward, false) => 0.6,
            (true, Pass::Backward, _) => 0.53,
        };
        let first = if pass == Pass::Forward { 0.6 } else { 0.5 };
        match family {
            AttentionFamily::Flash3 | AttentionFamily::Cudnn => 1.0,
            AttentionFamily::Flash2 => second,
            AttentionFamily::Flash1 | AttentionFamily::Unfused => second * first,
        }
    }
}
