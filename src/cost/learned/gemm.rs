//! GEMM: the best of a few tile shapes and split-K, in waves, against memory traffic; long kernels
//! throttle.
//!
//! The form and typical values come from fits of 40,000 public timings on eight GPUs
//! (aiconfigurator@095f58a); its parts are those of the roofline beside it (`cost/kernel/gemm.rs`).

use super::form::{FEATURES_MAX, Facts, Features, Form, Parameter};
use crate::work::GemmLayout;

/// One matrix product `[m,k] x [k,n]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmShape {
    /// Rows of the result.
    pub m: f64,
    /// Columns of the result.
    pub n: f64,
    /// Length of the inner products.
    pub k: f64,
    /// Which operand is transposed.
    pub layout: GemmLayout,
    /// Bytes of an operand's element.
    pub operand_bytes: f64,
    /// Bytes of a result's element, those read to be added to included.
    pub result_bytes: f64,
    /// Whether the time holds a pass that quantises the 16-bit left operand.
    pub quantises: bool,
    /// Whether the chip is hot, as in training, whatever the length of this kernel.
    pub sustained: bool,
}

/// The form.
#[derive(Clone, Copy, Debug)]
pub struct GemmForm;

/// Rows and columns of a tile, and which parameter gives its rate.
const TILES: [(f64, f64, usize); 8] = [
    (256.0, 128.0, 0),
    (128.0, 256.0, 0),
    (128.0, 128.0, 1),
    (256.0, 64.0, 2),
    (64.0, 256.0, 2),
    (128.0, 64.0, 2),
    (64.0, 128.0, 2),
    (64.0, 64.0, 3),
];

/// Ways of cutting the inner products over SMs.
const SPLITS: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Places of parameters in `values`.
mod at {
    pub(super) const LAUNCH: usize = 0;
    pub(super) const TILE: usize = 1;
    pub(super) const QUANTISATION: usize = 5;
    pub(super) const OVERHEAD_K: usize = 6;
    pub(super) const BANDWIDTH: usize = 7;
    pub(super) const REDUCTION: usize = 8;
    pub(super) const THROTTLE_GAIN: usize = 9;
    pub(super) const THROTTLE: usize = 10;
    pub(super) const DGRAD: usize = 11;
    pub(super) const WGRAD: usize = 12;
    pub(super) const QUANTISE: usize = 13;
    pub(super) const QUANTISE_LAUNCH: usize = 14;
    pub(super) const TILE_OVERHEAD: usize = 15;
    pub(super) const CACHE_GAIN: usize = 16;
    pub(super) const CACHE_SHARE: usize = 17;
}

/// Share of the throttle that a kernel sees which takes `1 / ratio` of the throttle's time: it sets
/// in around it with a steepness of 1.5.
fn throttled(ratio: f64) -> f64 {
    1.0 / (1.0 + ratio * ratio.sqrt())
}

/// What takes how long, us.
struct Parts {
    compute: f64,
    memory: f64,
    tile: usize,
    split: f64,
    tasks: f64,
}

impl Form for GemmForm {
    type Shape = GemmShape;

    const KIND: &'static str = "gemm";
    const VERSION: u32 = 1;

    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("launch_us", 2.3, 0.5, 12.0),
        // Share of the peak that an SM reaches in the main loop of a tile.
        Parameter::new("tile_256x128_fraction", 0.85, 0.2, 1.0),
        Parameter::new("tile_128x128_fraction", 0.75, 0.15, 1.0),
        Parameter::new("tile_128x64_fraction", 0.6, 0.1, 1.0),
        Parameter::new("tile_64x64_fraction", 0.4, 0.05, 1.0),
        // 1 where a started wave takes as long as a full one, 0 where work is spread evenly.
        Parameter::new("wave_quantisation", 0.3, 0.02, 1.0),
        // Prologue and epilogue of a tile, as that much more k.
        Parameter::new("overhead_k", 120.0, 5.0, 600.0),
        Parameter::new("bandwidth_fraction", 0.76, 0.3, 1.0),
        // Traffic of split-K partial sums.
        Parameter::new("reduction_bandwidth_fraction", 0.8, 0.1, 4.0),
        Parameter::new("throttle_gain", 0.15, 0.01, 0.6),
        Parameter::new("throttle_us", 2000.0, 300.0, 8000.0),
        Parameter::new("dgrad_factor", 1.0, 0.8, 1.3),
        Parameter::new("wgrad_factor", 1.04, 0.8, 1.4),
        // The pass that quantises, where the time holds it.
        Parameter::new("quantise_bandwidth_fraction", 0.5, 0.05, 1.0),
        Parameter::new("quantise_launch_us", 2.0, 0.2, 12.0),
        Parameter::new("tile_overhead_us", 0.3, 0.02, 5.0),
        // What lies in the last-level cache comes faster, by this much of the bandwidth; and the
        // share of the cache that a kernel's traffic may fill before half of that is gone.
        Parameter::new("cache_gain", 0.5, 0.01, 8.0),
        Parameter::new("cache_share", 0.2, 0.02, 2.0),
    ];

    const FEATURES: &'static [&'static str] = &[
        "log_m",
        "log_n",
        "log_k",
        "log_time",
        "log_flops",
        "log_intensity",
        "log_waves",
        "wave_share",
        "m_share",
        "n_share",
        "split",
        "tile",
        "memory_share",
        "log_cache",
        "log_m_n",
        "align_n",
        "align_k",
        "layout",
        "m_256",
        "n_256",
        "log_mn",
        "log_tasks",
        "wave_128",
        "wave_256",
        "m_64",
        "n_64",
    ];

    fn time_us(values: &[f64], facts: &Facts, shape: &GemmShape) -> f64 {
        time_of(&parts(values, facts, shape), values, facts, shape)
    }

    fn evaluate(values: &[f64], facts: &Facts, shape: &GemmShape) -> (f64, Features) {
        let parts = parts(values, facts, shape);
        let time_us = time_of(&parts, values, facts, shape);
        (time_us, features_of(&parts, facts, shape, time_us))
    }

    fn describe(shape: &GemmShape) -> String {
        let GemmShape { m, n, k, layout, .. } = shape;
        format!("{m}x{n}x{k} {layout:?}")
    }

    fn features(values: &[f64], facts: &Facts, shape: &GemmShape, time_us: f64) -> Features {
        features_of(&parts(values, facts, shape), facts, shape, time_us)
    }
}

/// Time in us, from what the parts take.
fn time_of(parts: &Parts, values: &[f64], facts: &Facts, shape: &GemmShape) -> f64 {
    let busy = smooth_maximum(parts.compute, parts.memory);
    let layout = match shape.layout {
        GemmLayout::Tn => 1.0,
        GemmLayout::Nn => values[at::DGRAD],
        GemmLayout::Nt => values[at::WGRAD],
    };
    let time = values[at::LAUNCH] + busy * layout;
    let heat = if shape.sustained { 1.0 } else { throttled(values[at::THROTTLE] / time) };
    let quantise = if shape.quantises {
        // Reads 16-bit values, writes 8-bit ones.
        let traffic = shape.m * shape.k * 3.0;
        let rate = facts.bandwidth * values[at::QUANTISE];
        values[at::QUANTISE_LAUNCH] + traffic / rate
    } else {
        0.0
    };
    time * (1.0 + values[at::THROTTLE_GAIN] * heat) + quantise
}

/// What the correction looks at.
fn features_of(parts: &Parts, facts: &Facts, shape: &GemmShape, time_us: f64) -> Features {
    let GemmShape { m, n, k, .. } = *shape;
    let (rows, columns, _) = TILES[parts.tile];
    let waves = parts.tasks / facts.sm_count;
    let flops = 2.0 * m * n * k;
    let bytes = traffic(shape);
    let mut features = [0.0; FEATURES_MAX];
    let list = [
        m.log2(),
        n.log2(),
        k.log2(),
        time_us.log2(),
        flops.log2(),
        (flops / bytes).log2(),
        waves.log2(),
        waves / waves.ceil(),
        m / ((m / rows).ceil() * rows),
        n / ((n / columns).ceil() * columns),
        parts.split,
        parts.tile as f64,
        parts.memory / (parts.memory + parts.compute),
        (bytes / facts.cache_bytes).log2(),
        (m / n).log2(),
        alignment(n),
        alignment(k),
        f64::from(shape.layout as u8),
        m / ((m / 256.0).ceil() * 256.0),
        n / ((n / 256.0).ceil() * 256.0),
        (m * n).log2(),
        parts.tasks.log2(),
        wave_share(m, n, 128.0, 128.0, facts.sm_count),
        wave_share(m, n, 256.0, 128.0, facts.sm_count),
        m / ((m / 64.0).ceil() * 64.0),
        n / ((n / 64.0).ceil() * 64.0),
    ];
    for (feature, value) in features.iter_mut().zip(list) {
        *feature = value as f32;
    }
    features
}

/// How full the last wave of some tile is, on average over the waves.
fn wave_share(m: f64, n: f64, rows: f64, columns: f64, sm_count: f64) -> f64 {
    let waves = (m / rows).ceil() * (n / columns).ceil() / sm_count;
    waves / waves.ceil()
}

/// Trailing zero bits, up to 8: what vector loads and swizzles need.
fn alignment(value: f64) -> f64 {
    f64::from((value as u64).trailing_zeros().min(8))
}

/// Operands read once, the result written once, bytes.
fn traffic(shape: &GemmShape) -> f64 {
    let GemmShape { m, n, k, operand_bytes, result_bytes, .. } = *shape;
    (m * k + n * k) * operand_bytes + m * n * result_bytes
}

/// `(a^4 + b^4)^(1/4)`: arithmetic and traffic overlap well.
fn smooth_maximum(a: f64, b: f64) -> f64 {
    let (a, b) = (a * a, b * b);
    (a * a + b * b).sqrt().sqrt()
}

/// The fastest tile and split.
fn parts(values: &[f64], facts: &Facts, shape: &GemmShape) -> Parts {
    let GemmShape { m, n, k, .. } = *shape;
    let sms = facts.sm_count;
    let rate = facts.peak / sms;
    let reduction = 4.0 * m * n / (facts.bandwidth * values[at::REDUCTION]);
    let quantisation = values[at::QUANTISATION];
    let mut best = Parts { compute: f64::INFINITY, memory: 0.0, tile: 0, split: 1.0, tasks: 1.0 };
    for (index, (rows, columns, rate_at)) in TILES.iter().enumerate() {
        let tiles = (m / rows).ceil() * (n / columns).ceil();
        let flops_a_k = 2.0 * rows * columns / (rate * values[at::TILE + rate_at]);
        for split in SPLITS {
            // Cutting what already fills the machine only adds traffic.
            if split > 1.0 && (tiles * split > 4.0 * sms || k / split < 128.0) {
                break;
            }
            let tasks = tiles * split;
            let even = tasks / sms;
            let waves = if even <= 1.0 {
                1.0
            } else {
                (1.0 - quantisation) * even + quantisation * even.ceil()
            };
            let task = values[at::TILE_OVERHEAD] + flops_a_k * (k / split + values[at::OVERHEAD_K]);
            let partial = if split > 1.0 { reduction * split } else { 0.0 };
            let compute = waves * task + partial;
            if compute < best.compute {
                best = Parts { compute, tile: index, split, tasks, memory: 0.0 };
            }
        }
    }
    let bytes = traffic(shape);
    let filled = bytes / (facts.cache_bytes * values[at::CACHE_SHARE]);
    let gain = 1.0 + values[at::CACHE_GAIN] / (1.0 + filled * filled);
    best.memory = bytes / (facts.bandwidth * values[at::BANDWIDTH] * gain);
    best
}
