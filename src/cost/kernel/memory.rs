//! Passes over memory: bytes over the bandwidth that kernels of a kind reach.

use super::{Estimate, sane_fraction};
use crate::spec::{Gpu, Stack};
use crate::units::Bytes;
use crate::work::MemoryKernel;

/// Share of the peak bandwidth that quantisation reaches: 0.55-0.59 on B200, 0.89 for plain casts
/// on H100, less with the scales' reduction (elementwise timings of aiconfigurator 095f58a).
const QUANTISE_FRACTION: f64 = 0.6;

/// Share of the peak bandwidth that gathers of embedding rows and their scattered gradients reach.
/// Rows are long and contiguous, their order random; an assumption, nothing published was found.
const EMBEDDING_FRACTION: f64 = 0.6;

/// How much faster a pass over bytes that all lie in the last-level cache is: RMS norms and adds of
/// 2-20 MB take 1/1.25 to 1/1.5 of what the rate of large ones says (vidur 7d47513, A100 and H100).
const CACHE_GAIN: f64 = 0.8;

/// Facts of a GPU and a stack that memory passes rest on, in SI units.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryForm {
    floor: f64,
    bandwidth: f64,
    cache_bytes: f64,
    copy_fraction: f64,
    norm_fraction: f64,
    elementwise_fraction: f64,
    softmax_fraction: f64,
    optimizer_fraction: f64,
    permute_fraction: f64,
}

impl MemoryForm {
    pub(super) fn new(gpu: &Gpu, stack: &Stack) -> Self {
        let copy_fraction = sane_fraction(gpu.memory_bandwidth_fraction);
        // No kernel beats a large copy.
        let at_most_copy = |fraction: f64| sane_fraction(fraction).min(copy_fraction);
        Self {
            floor: gpu.kernel_floor.value(),
            bandwidth: gpu.memory_bandwidth.value(),
            // Never zero: nothing fits a cache of one byte.
            cache_bytes: gpu.l2_cache.value().max(1.0),
            copy_fraction,
            norm_fraction: at_most_copy(stack.norm_bandwidth_fraction),
            elementwise_fraction: at_most_copy(stack.elementwise_bandwidth_fraction),
            softmax_fraction: at_most_copy(stack.softmax_bandwidth_fraction),
            optimizer_fraction: at_most_copy(stack.optimizer_bandwidth_fraction),
            permute_fraction: at_most_copy(stack.permute_bandwidth_fraction),
        }
    }

    /// `floor + bytes / (bandwidth x fraction)`. The floor is also the ramp: a pass of a few MB
    /// takes a few microseconds either way and reaches a fraction of the bandwidth. What fits the
    /// last-level cache was just written by the kernel before, and comes faster.
    pub(super) fn estimate(&self, kind: MemoryKernel, bytes: Bytes) -> Estimate {
        let bytes = bytes.value().max(0.0);
        let cached = (1.0 - bytes / self.cache_bytes).max(0.0);
        let fraction = (self.fraction(kind) * (1.0 + CACHE_GAIN * cached)).min(1.0);
        let relative_error = match kind {
            MemoryKernel::Copy | MemoryKernel::Cast | MemoryKernel::Optimizer => 0.1,
            MemoryKernel::Embedding | MemoryKernel::Permute | MemoryKernel::Quantise => 0.3,
            _ => 0.2,
        };
        Estimate::new(self.floor, bytes / (self.bandwidth * fraction), 1.0, relative_error)
    }

    /// Share of the peak bandwidth.
    fn fraction(&self, kind: MemoryKernel) -> f64 {
        match kind {
            MemoryKernel::Norm => self.norm_fraction,
            MemoryKernel::Activation
            | MemoryKernel::Rotary
            | MemoryKernel::Residual
            | MemoryKernel::Pointwise
            | MemoryKernel::CrossEntropy => self.elementwise_fraction,
            MemoryKernel::Softmax => self.softmax_fraction,
            MemoryKernel::Optimizer | MemoryKernel::GradientNorm => self.optimizer_fraction,
            MemoryKernel::Copy | MemoryKernel::Cast => self.copy_fraction,
            MemoryKernel::Permute => self.permute_fraction,
            MemoryKernel::Embedding => EMBEDDING_FRACTION.min(self.copy_fraction),
            MemoryKernel::Quantise => QUANTISE_FRACTION.min(self.copy_fraction),
        }
    }
}
