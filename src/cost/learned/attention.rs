//! Forward of fused attention: blocks of queries over the SMs, each running along its keys.
//!
//! ```text
//! block(L) = 4 B d (L + overhead_keys) / rate per SM         B queries, d the padded width
//! blocks   = max(even share x block(mean L) + last wave, block(longest L))
//! time     = (launch + max(blocks, traffic / bandwidth) + cache store) x throttle
//! ```
//!
//! Serving frameworks also write keys and values into their paged cache in the timed stretch.
//! Training does not: [`AttentionShape::cache_store`] says which of the two a shape is.

use super::blocks::{Blocks, size, smooth_maximum};
use super::{FEATURES_MAX, Facts, Features, Form, Parameter};

/// Bytes of a number in the 16-bit formats that fused attention runs in.
const ELEMENT_BYTES: f64 = 2.0;

/// Widths of head are padded to a multiple of this (FlashAttention 2 and 3 have kernels for 32, 64,
/// 96, 128, 160, 192, 224, 256).
const WIDTH_STEP: f64 = 32.0;

/// Width of head at which `efficiency` and `block_queries` are given.
const REFERENCE_WIDTH: f64 = 128.0;

/// Width of head past which accumulators no longer fit the registers of one block.
const REGISTER_WIDTH: f64 = 256.0;

/// Queries of the block by which features count waves, whatever the kernel's own is.
const FEATURE_QUERIES: f64 = 128.0;

/// What is run: one forward of fused attention. Sizes below 1 count as 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: f64,
    /// Queries a sequence.
    pub query_length: f64,
    /// Keys a sequence.
    pub key_length: f64,
    /// Query heads.
    pub heads: f64,
    /// Key and value heads.
    pub kv_heads: f64,
    /// Width of a head.
    pub head_dim: f64,
    /// Whether half of the score matrix is masked and skipped.
    pub causal: bool,
    /// Whether the time includes writing keys and values into a paged cache, as in the prefill of
    /// a serving framework.
    pub cache_store: bool,
}

impl AttentionShape {
    /// The shape with every size at least 1 and finite.
    fn sane(&self) -> Self {
        Self {
            batch: size(self.batch),
            query_length: size(self.query_length),
            key_length: size(self.key_length),
            heads: size(self.heads),
            kv_heads: size(self.kv_heads),
            head_dim: size(self.head_dim),
            ..*self
        }
    }

    /// Bytes of queries and of the output, each.
    fn query_bytes(&self) -> f64 {
        self.batch * self.query_length * self.heads * self.head_dim * ELEMENT_BYTES
    }

    /// Bytes of keys and of values, each.
    fn key_bytes(&self) -> f64 {
        self.batch * self.key_length * self.kv_heads * self.head_dim * ELEMENT_BYTES
    }
}

/// The form of fused attention forward; its parameters are in [`Form::PARAMETERS`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionForward;

const LAUNCH: usize = 0;
const EFFICIENCY: usize = 1;
const OVERHEAD_KEYS: usize = 2;
const LAST_WAVE: usize = 3;
const BANDWIDTH: usize = 4;
const WIDTH_OVERHEAD: usize = 5;
const WIDE_LOSS: usize = 6;
const BLOCK_QUERIES: usize = 7;
const BLOCK_SHRINK: usize = 8;
const THROTTLE: usize = 9;
const THROTTLE_US: usize = 10;
const STORE_BANDWIDTH: usize = 11;
const STORE_TOKEN_NS: usize = 12;

impl Form for AttentionForward {
    type Shape = AttentionShape;

    const KIND: &'static str = "attention";

    const VERSION: u32 = 2;

    const PARAMETERS: &'static [Parameter] = &[
        // Floor of the framework path or the bare kernel; measured tables start at 8-14 us.
        Parameter::new("launch_us", 6.0, 0.5, 60.0),
        // Share of the peak while blocks of heads of 128 run along endless keys.
        Parameter::new("efficiency", 0.65, 0.05, 1.5),
        // Keys whose time a block pays for prologue, diagonal and epilogue.
        Parameter::new("overhead_keys", 300.0, 10.0, 2000.0),
        // Longest blocks that the last SM is behind the mean: persistent kernels have least.
        Parameter::new("last_wave", 0.5, 0.02, 2.0),
        // Share of the bandwidth for queries, keys, values and output, each once.
        Parameter::new("bandwidth", 0.6, 0.2, 1.1),
        // Width at which work per score that does not grow with it takes as long as the products.
        Parameter::new("width_overhead", 60.0, 1.0, 400.0),
        // Power of 256 / width that the rate loses beyond.
        Parameter::new("wide_loss", 0.3, 0.01, 2.0),
        // Queries of a block with heads up to 128.
        Parameter::new("block_queries", 128.0, 32.0, 512.0),
        // Power of 128 / width by which blocks of wider heads are smaller.
        Parameter::new("block_shrink", 0.3, 0.01, 1.5),
        // What kernels far longer than `throttle_us` lose to power and caches.
        Parameter::new("throttle", 0.15, 0.005, 0.6),
        Parameter::new("throttle_us", 5000.0, 500.0, 20_000.0),
        // Share of the bandwidth for keys and values read and written to the paged cache.
        Parameter::new("store_bandwidth", 0.8, 0.2, 1.6),
        // What the cache write costs a token besides.
        Parameter::new("store_token_ns", 0.2, 0.001, 5.0),
    ];

    const FEATURES: &'static [&'static str] = &[
        "log_query_length",
        "log_batch",
        "log_heads",
        "log_kv_heads",
        "log_group",
        "log_sequences",
        "log_kv_sequences",
        "log_head_dim",
        "log_waves",
        "wave_fill",
        "log_time",
        "log_tokens",
        "log_keys_over_cache",
        "log_queries_over_cache",
        "double_wave_rest",
        "head_wave_rest",
        "heads_over_power_of_two",
    ];

    fn describe(shape: &AttentionShape) -> String {
        let AttentionShape { heads, kv_heads, head_dim, .. } = shape;
        let sizes = sizes(shape.batch, shape.query_length, shape.key_length, shape.causal);
        // With its cache write it is other work.
        let store = if shape.cache_store { " stored" } else { "" };
        format!("{sizes} {heads}/{kv_heads} heads of {head_dim}{store}")
    }

    fn time_us(values: &[f64], facts: &Facts, shape: &AttentionShape) -> f64 {
        let shape = shape.sane();
        let padded = (shape.head_dim / WIDTH_STEP).ceil() * WIDTH_STEP;
        let queries = if padded > REFERENCE_WIDTH {
            values[BLOCK_QUERIES] * (REFERENCE_WIDTH / padded).powf(values[BLOCK_SHRINK])
        } else {
            values[BLOCK_QUERIES]
        };
        let overhead = values[WIDTH_OVERHEAD];
        let mut rate = values[EFFICIENCY] * facts.peak / facts.sm_count
            * ((1.0 + overhead / REFERENCE_WIDTH) / (1.0 + overhead / padded));
        if padded > REGISTER_WIDTH {
            rate *= (REGISTER_WIDTH / padded).powf(values[WIDE_LOSS]);
        }
        let blocks = Blocks {
            count: (shape.query_length / queries).max(1.0) * shape.batch * shape.heads,
            slots: facts.sm_count,
            longest_keys: shape.key_length,
            mean_keys: if shape.causal { shape.key_length / 2.0 } else { shape.key_length },
            overhead_keys: values[OVERHEAD_KEYS],
            key_us: 4.0 * queries * padded / rate,
            last_wave: values[LAST_WAVE],
        };
        let traffic = 2.0 * (shape.query_bytes() + shape.key_bytes());
        let bandwidth = values[BANDWIDTH] * facts.bandwidth;
        let mut time = values[LAUNCH] + smooth_maximum(blocks.time_us(), traffic / bandwidth);
        if shape.cache_store {
            // Keys and values are read and written once.
            time += 4.0 * shape.key_bytes() / (values[STORE_BANDWIDTH] * facts.bandwidth)
                + values[STORE_TOKEN_NS] * 1e-3 * shape.batch * shape.key_length;
        }
        time * throttled(values, time)
    }

    fn features(values: &[f64], facts: &Facts, shape: &AttentionShape, time_us: f64) -> Features {
        let shape = shape.sane();
        // The bare kernel's, so that the price of one is worked out once.
        let time_us = if shape.cache_store {
            Self::time_us(values, facts, &AttentionShape { cache_store: false, ..shape })
        } else {
            time_us
        };
        // In single precision: logarithms are most of the time of a price.
        let log = |value: f64| (value as f32).max(f32::MIN_POSITIVE).log2();
        let sequences = shape.batch * shape.heads;
        let blocks = (shape.query_length / FEATURE_QUERIES).ceil() * sequences;
        let waves = blocks / facts.sm_count;
        let (batch, length) = (log(shape.batch), log(shape.query_length));
        let (heads, kv_heads) = (log(shape.heads), log(shape.kv_heads));
        let width = log(shape.head_dim);
        let named = [
            length,
            batch,
            heads,
            kv_heads,
            heads - kv_heads,
            batch + heads,
            batch + kv_heads,
            width,
            log(waves),
            (waves / waves.ceil()) as f32,
            log(time_us),
            batch + length,
            log(2.0 * shape.key_bytes() / facts.cache_bytes),
            log(2.0 * shape.query_bytes() / facts.cache_bytes),
            (waves / 2.0).min(8.0).fract() as f32,
            (sequences / facts.sm_count).min(8.0).fract() as f32,
            heads.fract(),
        ];
        let mut features = [0.0; FEATURES_MAX];
        features[..named.len()].copy_from_slice(&named);
        features
    }
}

/// Sequences, their lengths and the mask, for people.
pub(super) fn sizes(batch: f64, query_length: f64, key_length: f64, causal: bool) -> String {
    let mask = if causal { "causal" } else { "full" };
    if query_length == key_length {
        return format!("{batch}x{query_length} {mask}");
    }
    format!("{batch}x{query_length}x{key_length} {mask}")
}

/// Name of the case of a model: format, mask, family, and whether the time has the cache write of
/// a serving framework.
pub fn attention_case(format: &str, family: &str, causal: bool, cache_store: bool) -> String {
    let mask = if causal { "causal" } else { "full" };
    let path = if cache_store { " prefill" } else { "" };
    format!("{format} {mask} {family}{path}")
}

/// Family in the name of a case of forward or backward: `flash3` of `16-bit causal flash3 prefill`
/// and of `16-bit flash3`.
pub(super) fn case_family(case: &str) -> Option<&str> {
    case.split(' ').skip(1).find(|word| !matches!(*word, "causal" | "full"))
}

/// What long kernels take more: `1 + g / (1 + (threshold / time)^1.5)`, the form that measured
/// GEMMs showed (aiconfigurator 095f58a, kernels above 1-3 ms).
fn throttled(values: &[f64], time_us: f64) -> f64 {
    let ratio = values[THROTTLE_US] / time_us.max(1e-3);
    1.0 + values[THROTTLE] / (1.0 + ratio * ratio.sqrt())
}

#[cfg(test)]
mod tests;
