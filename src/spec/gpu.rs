//! One GPU: rates, sizes and what fraction of them kernels reach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond, Seconds, Watts};
use crate::work::DType;

/// Facts of a GPU, each with its source.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Name for people.
    pub name: String,
    /// Names under which tables of measurements list it and drivers report it; each is of one GPU
    /// only.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Vendor, lower case: `nvidia` or `amd`.
    pub vendor: String,
    /// Architecture, lower case: `pascal`, `volta`, `turing`, `ampere`, `ada`, `hopper`,
    /// `blackwell`, `blackwell-rtx` (compute capability 12), `cdna1`, `cdna2`, `cdna3`, `cdna4`.
    pub architecture: String,
    /// Memory that a process can see.
    pub memory: Bytes,
    /// Peak memory bandwidth.
    pub memory_bandwidth: BytesPerSecond,
    /// Share of the peak bandwidth that a large copy or add reaches.
    pub memory_bandwidth_fraction: f64,
    /// Streaming multiprocessors (compute units).
    pub sm_count: u64,
    /// Last-level cache.
    pub l2_cache: Bytes,
    /// Peak of fp32 without tensor cores.
    pub peak_fp32: FlopsPerSecond,
    /// Dense tensor-core peak of tf32; absent where the GPU has none.
    #[serde(default)]
    pub peak_tf32: Option<FlopsPerSecond>,
    /// Dense peak of products of fp16 operands: of tensor cores, else of what multiplies them.
    pub peak_fp16: FlopsPerSecond,
    /// Dense tensor-core peak of bf16; absent where the GPU has none.
    #[serde(default)]
    pub peak_bf16: Option<FlopsPerSecond>,
    /// Dense tensor-core peak of fp8; absent where the GPU has none.
    #[serde(default)]
    pub peak_fp8: Option<FlopsPerSecond>,
    /// Dense tensor-core peak of fp4; absent where the GPU has none.
    #[serde(default)]
    pub peak_fp4: Option<FlopsPerSecond>,
    /// Share of the tensor-core peak that long GEMMs of 16-bit operands sustain.
    pub gemm_fraction: f64,
    /// The same for fp8 and fp4; `gemm_fraction` when absent.
    #[serde(default)]
    pub gemm_fp8_fraction: Option<f64>,
    /// Share of the tensor-core peak that fused attention forward reaches on long sequences.
    pub attention_forward_fraction: f64,
    /// The same for backward, per FLOP of its 2.5 times as many.
    pub attention_backward_fraction: f64,
    /// Least time of a kernel, launch included, that the stream is busy with it.
    pub kernel_floor: Seconds,
    /// Time from a launch call on the host to the start on an idle device.
    pub launch_latency: Seconds,
    /// Board power limit.
    pub tdp: Watts,
    /// Where each number comes from, by key; `recalled:` in front marks what was not looked up.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

/// Share of the memory's ratio that counts in the distance of two parts of the same die and power.
const SAME_DIE_MEMORY: f64 = 0.1;

impl Gpu {
    /// How unlike another GPU: natural logarithms of the ratios of peak per SM, bandwidth and SM
    /// count, half of those of cache and power, and one more for another architecture.
    ///
    /// The same die at the same power with other memory (A100 SXM with 40 and 80 GB) is near: what
    /// memory does to a kernel is in the forms, what power does is not.
    pub fn distance(&self, other: &Self) -> f64 {
        let log = |own: f64, others: f64| (own.max(1.0) / others.max(1.0)).ln().abs();
        let per_sm = |gpu: &Self| gpu.peak_fp16.value() / gpu.sm_count.max(1) as f64;
        let architecture = f64::from(u8::from(self.architecture != other.architecture));
        let is_same_die = architecture == 0.0
            && self.sm_count == other.sm_count
            && self.peak_fp16 == other.peak_fp16
            && self.tdp == other.tdp;
        let memory = if is_same_die { SAME_DIE_MEMORY } else { 1.0 };
        architecture
            + log(per_sm(self), per_sm(other))
            + memory * log(self.memory_bandwidth.value(), other.memory_bandwidth.value())
            + log(self.sm_count as f64, other.sm_count as f64)
            + 0.5 * log(self.l2_cache.value(), other.l2_cache.value())
            + 0.5 * log(self.tdp.value(), other.tdp.value())
    }

    /// Peak that utilisation is measured against when linear layers train in a format: frameworks
    /// train "fp32" with tf32 products where the GPU has them.
    pub fn training_peak(&self, dtype: DType) -> FlopsPerSecond {
        let products = if dtype == DType::Fp32 { self.peak(DType::Tf32) } else { self.peak(dtype) };
        // What the tensor cores cannot do, the fp32 units do.
        products.unwrap_or(self.peak_fp32)
    }

    /// Peak rate of matrix products on operands of a format; `None` where the GPU cannot.
    pub fn peak(&self, dtype: DType) -> Option<FlopsPerSecond> {
        match dtype {
            DType::Fp32 => Some(self.peak_fp32),
            DType::Tf32 => self.peak_tf32,
            DType::Fp16 => Some(self.peak_fp16),
            DType::Bf16 => self.peak_bf16,
            DType::Fp8 | DType::Fp8Rowwise | DType::Fp8Blockwise => self.peak_fp8,
            // Microscaling needs scales in the tensor core, which came with fp4.
            DType::Mxfp8 => self.peak_fp4.and(self.peak_fp8),
            DType::Nvfp4 => self.peak_fp4,
        }
    }
}
