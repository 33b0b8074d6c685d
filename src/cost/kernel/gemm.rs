//! Matrix products: the best of a few tile shapes and splits, against memory traffic.

use super::architecture::Architecture;
use super::{Estimate, sane_fraction, smooth_maximum, waves};
use crate::spec::Gpu;
use crate::work::{DType, GemmLayout};

/// A tile of the result that one SM computes, and its rate over that of the best tile.
struct Tile {
    rows: f64,
    columns: f64,
    efficiency: f64,
}

/// Shapes that GEMM libraries ship for tensor cores. Smaller tiles load more bytes per product;
/// their efficiencies are an assumption, which measured A100 and H100 shapes bear out on average
/// (aiconfigurator 095f58a: small shapes of 64 rows or more come out within 7 % in the mean).
const TILES: [Tile; 6] = [
    Tile { rows: 256.0, columns: 128.0, efficiency: 1.0 },
    Tile { rows: 128.0, columns: 256.0, efficiency: 1.0 },
    Tile { rows: 128.0, columns: 128.0, efficiency: 0.95 },
    Tile { rows: 128.0, columns: 64.0, efficiency: 0.8 },
    Tile { rows: 64.0, columns: 128.0, efficiency: 0.8 },
    Tile { rows: 64.0, columns: 64.0, efficiency: 0.65 },
];

/// Ways of cutting the inner products over SMs.
const SPLITS: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Rate of a tile in its main loop over the rate of the long GEMMs from which `gemm_fraction` is
/// taken: those lose about 1.5 % to prologues (k about 8k) and 1.5 % to the last of some 30 waves.
const MAIN_LOOP_GAIN: f64 = 1.03;

/// Rate of fp8 products over that of 16-bit ones where nobody measured it: 13.10 over 6.81 ms of a
/// layer's products on B300, quantised before (Transformer Engine@8f2e635, GEMM profiling).
const FP8_OVER_WIDE: f64 = 1.92;

/// Rate of mxfp8 products over fp8 ones with a scale a tensor: 6.81 over 7.16 ms, same source.
const MXFP8_OVER_FP8: f64 = 0.951;

/// Rate of nvfp4 products over 16-bit ones: 13.10 over 3.76 ms, same source. Power and operand
/// traffic bound it, not the tensor cores' peak.
const NVFP4_OVER_WIDE: f64 = 3.48;

/// Rate of wgrad products over forward's: 212 of 224 TFLOP/s on A100, 1081 of 1116 on B200
/// (SimuMax 4dcaae5, means over training shapes).
const WGRAD_EFFICIENCY: f64 = 0.96;

/// Bandwidth that GEMMs reach over that of a large copy: 70-83 % of the peak where copies reach
/// 84-98 % (fits of aiconfigurator 095f58a).
const TRAFFIC_EFFICIENCY: f64 = 0.85;

/// Share of the last-level cache that one operand may fill and still be read only once.
const RESIDENT_SHARE: f64 = 0.5;

/// Dimensions of `batch` products `[m,k] x [k,n]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) m: f64,
    pub(super) n: f64,
    pub(super) k: f64,
    pub(super) batch: f64,
}

/// Facts of a GPU that GEMM times rest on, in SI units.
#[derive(Clone, Copy, Debug)]
pub(super) struct GemmForm {
    architecture: Architecture,
    floor: f64,
    sm_count: f64,
    bandwidth: f64,
    resident_bytes: f64,
    /// Rate of the best tile's main loop on all SMs.
    rates: Rates,
    /// Rate without tensor cores.
    cuda_core_rate: f64,
}

/// Rates by operand format, FLOP/s.
#[derive(Clone, Copy, Debug)]
struct Rates {
    fp32: f64,
    tf32: f64,
    fp16: f64,
    bf16: f64,
    fp8: f64,
    mxfp8: f64,
    nvfp4: f64,
}

impl Rates {
    fn new(gpu: &Gpu) -> Self {
        let wide = sane_fraction(sane_fraction(gpu.gemm_fraction) * MAIN_LOOP_GAIN);
        let narrow = gpu.gemm_fp8_fraction.unwrap_or(gpu.gemm_fraction * FP8_OVER_WIDE / 2.0);
        let narrow = sane_fraction(sane_fraction(narrow) * MAIN_LOOP_GAIN);
        let rate = |dtype: DType| {
            let fraction = match dtype {
                DType::Mxfp8 => narrow * MXFP8_OVER_FP8,
                _ if dtype.is_quantised() => narrow,
                _ => wide,
            };
            // A format that the GPU lacks is computed in fp32. Checks refuse it in a scenario, but
            // a trace from elsewhere may hold it.
            fraction * gpu.peak(dtype).unwrap_or(gpu.peak_fp32).value()
        };
        Self {
            // Frameworks train "fp32" with tf32 products where the GPU has them.
            fp32: rate(DType::Tf32),
            tf32: rate(DType::Tf32),
            fp16: rate(DType::Fp16),
            bf16: rate(DType::Bf16),
            fp8: rate(DType::Fp8),
            mxfp8: rate(DType::Mxfp8),
            nvfp4: (rate(DType::Bf16) * NVFP4_OVER_WIDE).min(rate(DType::Nvfp4)),
        }
    }

    fn of(&self, dtype: DType) -> f64 {
        match dtype {
            DType::Fp32 => self.fp32,
            DType::Tf32 => self.tf32,
            DType::Fp16 => self.fp16,
            DType::Bf16 => self.bf16,
            DType::Fp8 | DType::Fp8Rowwise | DType::Fp8Blockwise => self.fp8,
            DType::Mxfp8 => self.mxfp8,
            DType::Nvfp4 => self.nvfp4,
        }
    }
}

impl GemmForm {
    pub(super) fn new(gpu: &Gpu) -> Self {
        let fraction = sane_fraction(gpu.memory_bandwidth_fraction) * TRAFFIC_EFFICIENCY;
        Self {
            architecture: Architecture::named(&gpu.architecture),
            floor: gpu.kernel_floor.value(),
            sm_count: gpu.sm_count.max(1) as f64,
            bandwidth: gpu.memory_bandwidth.value() * fraction,
            resident_bytes: gpu.l2_cache.value() * RESIDENT_SHARE,
            rates: Rates::new(gpu),
            cuda_core_rate: gpu.peak_fp32.value() * CUDA_CORE_SHARE,
        }
    }

    /// `floor + smooth maximum of (waves x tile, traffic / bandwidth)`. The rates are those that
    /// long kernels sustain: in a training step the chip never cools down, so that the 10-20 % by
    /// which a short burst is faster on Hopper and Blackwell does not show.
    pub(super) fn estimate(
        &self,
        shape: Shape,
        dtype: DType,
        output: DType,
        layout: GemmLayout,
        accumulate: bool,
    ) -> Estimate {
        let Shape { m, n, k, .. } = shape;
        // The dimensions that are contiguous in memory decide how wide loads and stores can be.
        let (contiguous, layout_efficiency) = match layout {
            GemmLayout::Tn | GemmLayout::Nn => ((n, k), 1.0),
            GemmLayout::Nt => ((m, n), WGRAD_EFFICIENCY),
        };
        let alignment = alignment_efficiency(contiguous.0, dtype)
            .min(alignment_efficiency(contiguous.1, dtype));
        let rate = if needs_cuda_cores(shape, contiguous, dtype) {
            self.cuda_core_rate
        } else {
            self.rates.of(dtype) * layout_efficiency * alignment
        };
        let compute = self.best_tiling(shape, rate, self.rates.fp16);
        let traffic = self.traffic(shape, dtype, output, accumulate) / self.bandwidth;
        let (busy, memory_share) = smooth_maximum(compute, traffic);
        // Judged on measured A100 and H100 shapes: below 10 % for those of training, more where few
        // rows or short inner products leave the choice of kernel open.
        let relative_error = if m.min(n).min(k) >= 512.0 { 0.1 } else { 0.2 };
        Estimate::new(self.floor, busy, memory_share, relative_error)
    }

    /// Seconds of the fastest tile shape and split.
    fn best_tiling(&self, shape: Shape, rate: f64, overhead_rate: f64) -> f64 {
        let Shape { m, n, k, batch } = shape;
        let sm_rate = rate / self.sm_count;
        // Prologue and epilogue take a time, not a number of products: faster formats do not
        // shorten them.
        let overhead = self.architecture.gemm_overhead_k / (overhead_rate / self.sm_count);
        let mut best = f64::INFINITY;
        for tile in &TILES {
            let tiles = (m / tile.rows).ceil() * (n / tile.columns).ceil() * batch;
            let area = 2.0 * tile.rows * tile.columns / tile.efficiency;
            for split in SPLITS {
                let waves =
                    waves(tiles * split, self.sm_count, self.architecture.gemm_quantisation);
                let tile_time = area * (k / split / sm_rate + overhead);
                // Partial sums are written and read in fp32, once a split.
                let reduction =
                    if split > 1.0 { 4.0 * m * n * batch * split / self.bandwidth } else { 0.0 };
                best = best.min(waves * tile_time + reduction);
            }
        }
        best
    }

    /// Bytes to and from memory. Tiles run in blocks that are as square as a wave of large tiles
    /// allows; each block reads its rows and columns again unless one operand stays in the cache.
    fn traffic(&self, shape: Shape, dtype: DType, output: DType, accumulate: bool) -> f64 {
        let Shape { m, n, k, batch } = shape;
        let (left, right) = (m * k * dtype.bytes(), n * k * dtype.bytes());
        let operands = if left.min(right) <= self.resident_bytes {
            left + right
        } else {
            let side = (self.sm_count * 256.0 * 128.0).sqrt();
            left * (n / side).max(1.0) + right * (m / side).max(1.0)
        };
        let passes = if accumulate { 2.0 } else { 1.0 };
        batch * (operands + passes * m * n * output.bytes())
    }
}

/// Share of the fp32 peak that batches of 16-bit products reach without tensor cores: 10 of 19.5
/// TFLOP/s on A100. 78 layers with 128 heads of 108 take 163 s a step where 96 heads of 144 take
/// 118 (bigscience-workshop/bigscience@9e64ede train/tr11-176B-ml/chronicles-prequel.md).
const CUDA_CORE_SHARE: f64 = 0.5;

/// Whether a batch of 16-bit products runs without tensor cores: where its rows are no multiple of
/// 16 bytes the batched kernels of cuBLAS fall back, as attention with heads of odd widths shows.
fn needs_cuda_cores(shape: Shape, contiguous: (f64, f64), dtype: DType) -> bool {
    let is_aligned = |dimension: f64| (dimension * dtype.bytes()) % 16.0 == 0.0;
    let is_half = matches!(dtype, DType::Fp16 | DType::Bf16);
    shape.batch > 1.0 && is_half && !(is_aligned(contiguous.0) && is_aligned(contiguous.1))
}

/// Rate of a product over that of the same product with aligned rows, for one contiguous dimension.
///
/// Tensor-core loads move 16 bytes: rows that are no multiple of that force narrower ones, and
/// multiples of 128 bytes are best (recalled: NVIDIA's matrix multiplication guide). How much it
/// costs is an assumption: half where rows are odd, as padding a vocabulary of 50,257 to 50,304 is
/// reported to save a quarter of a GPT-2 step (recalled: nanoGPT). No measured shape is unaligned.
fn alignment_efficiency(dimension: f64, dtype: DType) -> f64 {
    let bytes = dimension * dtype.bytes().max(0.5);
    let multiple = |of: f64| bytes % of == 0.0;
    if dimension <= 1.0 || multiple(128.0) {
        1.0
    } else if multiple(16.0) {
        0.97
    } else if multiple(4.0) {
        0.7
    } else {
        0.5
    }
}
