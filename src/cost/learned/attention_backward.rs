//! Backward of fused attention, given the time of its forward.
//!
//! Blocks of keys run along queries through five products where forward has two. A form of sizes
//! alone misses what machine and software do to the shape, and a ratio to forward misses that the
//! two kernels are cut differently: small forwards wait for launches and split along keys, where
//! backward does not. The time is a weighted geometric mean of both:
//!
//! ```text
//! time = launch + sizes^(1 - forward_share) x (2.87 forward)^forward_share
//! ```

use super::attention::sizes;
use super::blocks::{Blocks, size};
use super::{FEATURES_MAX, Facts, Features, Form, Parameter};

/// Backward over forward on the mean of measured kernels (interquartile range 2.73-3.02).
pub(super) const BACKWARD_OVER_FORWARD: f64 = 2.87;

/// Deterministic backward over the other: FlashAttention 4 on B200, 2505 and 2274 us
/// (flash-attention issue 2280).
const DETERMINISTIC: f64 = 2505.0 / 2274.0;

/// Keys that a block of backward holds (FlashAttention 2 and 3 with heads of 64 to 128: 80-128).
const BLOCK_KEYS: f64 = 128.0;

/// Width of head at which `efficiency` is given.
const REFERENCE_WIDTH: f64 = 128.0;

/// Share of the bandwidth of the kernels beside the main one, which sum rows and cast gradients.
const SIDE_BANDWIDTH: f64 = 0.7;

/// What is run: one backward of fused attention. Sizes below 1 count as 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionBackwardShape {
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
    /// Width of queries and keys a head.
    pub head_dim: f64,
    /// Width of values a head.
    pub value_head_dim: f64,
    /// Whether half of the score matrix is masked and skipped.
    pub causal: bool,
    /// Whether gradients are summed in a fixed order.
    pub deterministic: bool,
    /// Time of the forward of the same shape and family, us.
    pub forward_us: f64,
}

impl AttentionBackwardShape {
    /// The shape with every size at least 1 and finite.
    fn sane(&self) -> Self {
        let forward = self.forward_us;
        Self {
            batch: size(self.batch),
            query_length: size(self.query_length),
            key_length: size(self.key_length),
            heads: size(self.heads),
            kv_heads: size(self.kv_heads),
            head_dim: size(self.head_dim),
            value_head_dim: size(self.value_head_dim),
            forward_us: if forward.is_nan() { 0.1 } else { forward.clamp(0.1, 1e15) },
            ..*self
        }
    }
}

/// The form of fused attention backward; its parameters are in [`Form::PARAMETERS`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionBackward;

const LAUNCH: usize = 0;
const EFFICIENCY: usize = 1;
const OVERHEAD_QUERIES: usize = 2;
const LAST_WAVE: usize = 3;
const WIDTH_OVERHEAD: usize = 4;
const WIDE_LOSS: usize = 5;
const FORWARD_SHARE: usize = 6;

impl Form for AttentionBackward {
    type Shape = AttentionBackwardShape;

    const KIND: &'static str = "attention-backward";

    const VERSION: u32 = 1;

    // Tables of backward are short, ten rows and fewer of some GPUs: starts are medians of what
    // nine GPUs and families gave, and the search is drawn to them.
    const PARAMETERS: &'static [Parameter] = &[
        // Main kernel, row sums before and cast after.
        Parameter::new("launch_us", 5.0, 0.5, 60.0),
        // Share of the peak while blocks of heads of 128 run along endless queries.
        Parameter::new("efficiency", 0.5, 0.05, 1.2),
        // Queries whose time a block pays for prologue, diagonal and epilogue.
        Parameter::new("overhead_queries", 150.0, 5.0, 2000.0),
        // Longest blocks that the last SM is behind the mean.
        Parameter::new("last_wave", 0.12, 0.01, 1.0),
        // Width at which work per score that does not grow with it takes as long as the products.
        Parameter::new("width_overhead", 25.0, 3.0, 200.0),
        // Power of 128 / width that the rate loses beyond.
        Parameter::new("wide_loss", 0.65, 0.05, 3.0),
        // Weight of the forward's time against that of the sizes.
        Parameter::new("forward_share", 0.25, 0.02, 0.95),
    ];

    const FEATURES: &'static [&'static str] = &[];

    fn describe(shape: &AttentionBackwardShape) -> String {
        let AttentionBackwardShape { heads, kv_heads, head_dim, value_head_dim, .. } = shape;
        let sizes = sizes(shape.batch, shape.query_length, shape.key_length, shape.causal);
        let order = if shape.deterministic { " deterministic" } else { "" };
        format!("{sizes} {heads}/{kv_heads} heads of {head_dim}/{value_head_dim}{order}")
    }

    fn time_us(values: &[f64], facts: &Facts, shape: &AttentionBackwardShape) -> f64 {
        let shape = shape.sane();
        let overhead = values[WIDTH_OVERHEAD];
        let mut rate = values[EFFICIENCY] * facts.peak / facts.sm_count
            * ((1.0 + overhead / REFERENCE_WIDTH) / (1.0 + overhead / shape.head_dim));
        if shape.head_dim > REFERENCE_WIDTH {
            rate *= (REFERENCE_WIDTH / shape.head_dim).powf(values[WIDE_LOSS]);
        }
        // Three products along the width of queries and keys, two along that of values.
        let products = 6.0 * shape.head_dim + 4.0 * shape.value_head_dim;
        let blocks = Blocks {
            count: (shape.key_length / BLOCK_KEYS).max(1.0) * shape.batch * shape.heads,
            slots: facts.sm_count,
            longest_keys: shape.query_length,
            mean_keys: if shape.causal { shape.query_length / 2.0 } else { shape.query_length },
            overhead_keys: values[OVERHEAD_QUERIES],
            key_us: BLOCK_KEYS * products / rate,
            last_wave: values[LAST_WAVE],
        };
        let widths = shape.head_dim + shape.value_head_dim;
        // Reads q, k, v, o, do and writes dq, dk, dv in 16 bits: twice queries and keys, each of
        // both widths.
        let traffic = 4.0
            * shape.batch
            * widths
            * (shape.heads * shape.query_length + shape.kv_heads * shape.key_length);
        let sizes = blocks.time_us() + traffic / (SIDE_BANDWIDTH * facts.bandwidth);
        let ratio = BACKWARD_OVER_FORWARD * shape.forward_us / sizes;
        let time = values[LAUNCH] + sizes * ratio.powf(values[FORWARD_SHARE]);
        if shape.deterministic { time * DETERMINISTIC } else { time }
    }

    fn features(_: &[f64], _: &Facts, _: &AttentionBackwardShape, _: f64) -> Features {
        [0.0; FEATURES_MAX]
    }
}

#[cfg(test)]
mod tests;
