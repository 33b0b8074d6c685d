//! Dispatch and combine of a mixture of experts: tokens to the ranks of their experts, and back.
//!
//! A token goes once to each rank that holds one of its experts, across nodes once to each such
//! node, from where NVLink takes it on (DeepEP's normal kernels, TensorRT-LLM's one- and two-sided
//! ones). `t = launch + nodes + bytes / rate`, the rate being that of the links or of the SMs that
//! copy, whichever is less. Learned from aiconfigurator@095f58a.

#[cfg(test)]
mod tests;

use super::form::{FEATURES_MAX, Facts, Features, Form, Parameter};

/// One direction of an exchange of tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AllToAllShape {
    /// GPUs.
    pub ranks: f64,
    /// Domains of fast links that hold them: nodes, or one.
    pub nodes: f64,
    /// Tokens that each rank sends.
    pub tokens: f64,
    /// Bytes of a token on the wire, its scales included.
    pub token_bytes: f64,
    /// Experts that a token goes to.
    pub topk: f64,
    /// Experts in all, spread evenly over the ranks.
    pub experts: f64,
    /// SMs that copy; 0 for a kernel that takes what it wants.
    pub sms: f64,
}

impl AllToAllShape {
    fn sane(&self) -> Self {
        let least = |value: f64, low: f64, high: f64| {
            if value.is_nan() { low } else { value.clamp(low, high) }
        };
        let ranks = least(self.ranks, 2.0, 1e5);
        let experts = least(self.experts, 1.0, 1e6);
        Self {
            ranks,
            nodes: least(self.nodes, 1.0, ranks),
            tokens: least(self.tokens, 1.0, 1e9),
            token_bytes: least(self.token_bytes, 1.0, 1e9),
            topk: least(self.topk, 1.0, experts.min(256.0)),
            experts,
            sms: if self.sms >= 1.0 { self.sms.min(1e3) } else { 0.0 },
        }
    }

    /// Copies of a token that leave its rank, and those that leave its rank's node.
    pub(super) fn copies(&self) -> (f64, f64) {
        let shape = self.sane();
        let away = |count: f64| shape.places(count) * (count - 1.0) / count;
        (away(shape.ranks), if shape.nodes > 1.0 { away(shape.nodes) } else { 0.0 })
    }

    /// Expected count of places among `count` that a token goes to: each holds `1 / count` of the
    /// experts, of which `topk` different ones are drawn.
    fn places(&self, count: f64) -> f64 {
        let elsewhere = self.experts - self.experts / count;
        let mut missed = 1.0;
        for drawn in 0..self.topk as u64 {
            let drawn = drawn as f64;
            missed *= ((elsewhere - drawn) / (self.experts - drawn)).max(0.0);
        }
        count * (1.0 - missed)
    }
}

/// The form.
#[derive(Clone, Copy, Debug)]
pub struct AllToAllForm;

/// How sharply the slowest of links and SMs sets the pace.
const SHARPNESS: f64 = 6.0;

/// Places of parameters in `values`.
mod at {
    pub(super) const LAUNCH: usize = 0;
    pub(super) const RANK: usize = 1;
    pub(super) const NODE: usize = 2;
    pub(super) const TOKEN: usize = 3;
    pub(super) const OVERHEAD: usize = 4;
    pub(super) const OWN: usize = 5;
    pub(super) const LINK: usize = 6;
    pub(super) const SM: usize = 7;
    pub(super) const NIC: usize = 8;
    pub(super) const CONGESTION: usize = 9;
}

/// Rates in bytes/us, which are MB/s.
const PARAMETERS: &[Parameter] = &[
    Parameter::new("launch_us", 20.0, 1.0, 200.0),
    Parameter::new("rank_us", 0.3, 0.005, 20.0),
    Parameter::new("node_us", 15.0, 0.5, 200.0),
    Parameter::new("token_ns", 1.0, 0.01, 100.0),
    Parameter::new("token_overhead_bytes", 200.0, 5.0, 20_000.0),
    Parameter::new("own_part", 0.4, 0.01, 2.0),
    Parameter::new("link_rate", 350e3, 10e3, 3e6),
    Parameter::new("sm_rate", 16e3, 1e3, 400e3),
    Parameter::new("nic_rate", 45e3, 2e3, 500e3),
    Parameter::new("congestion", 0.1, 0.005, 3.0),
];

impl Form for AllToAllForm {
    type Shape = AllToAllShape;

    const KIND: &'static str = "all-to-all";
    const VERSION: u32 = 1;
    const PARAMETERS: &'static [Parameter] = PARAMETERS;
    const FEATURES: &'static [&'static str] = &[
        "tokens_log2",
        "token_bytes",
        "ranks",
        "nodes",
        "topk",
        "experts_log2",
        "sms",
        "bytes_log2",
        "form_log2",
    ];

    fn time_us(values: &[f64], _: &Facts, shape: &AllToAllShape) -> f64 {
        let shape = shape.sane();
        let token = shape.token_bytes + values[at::OVERHEAD];
        let places = shape.places(shape.ranks);
        let abroad = places * (shape.ranks - 1.0) / shape.ranks;
        // A rank's own tokens are copied in its memory, next to those that leave it.
        let bytes = shape.tokens * token * (abroad + places / shape.ranks * values[at::OWN]);
        let links = bytes / values[at::LINK];
        let sms = if shape.sms > 0.0 { bytes / (values[at::SM] * shape.sms) } else { 0.0 };
        let network = if shape.nodes > 1.0 {
            let other = shape.places(shape.nodes) * (shape.nodes - 1.0) / shape.nodes;
            let crowd = (shape.nodes / 2.0).powf(values[at::CONGESTION]);
            shape.tokens * token * other * crowd / values[at::NIC]
        } else {
            0.0
        };
        let slowest = links.max(sms).max(network);
        let sum: f64 =
            [links, sms, network].iter().map(|one| (one / slowest).powf(SHARPNESS)).sum();
        values[at::LAUNCH]
            + values[at::RANK] * (shape.ranks - 1.0)
            + values[at::NODE] * (shape.nodes - 1.0)
            + values[at::TOKEN] * 1e-3 * shape.tokens * shape.topk / 8.0
            + slowest * sum.powf(1.0 / SHARPNESS)
    }

    fn describe(shape: &AllToAllShape) -> String {
        let AllToAllShape { ranks, nodes, tokens, token_bytes, topk, experts, sms } = shape;
        format!(
            "{tokens} tokens of {token_bytes} bytes to {topk} of {experts} experts on {ranks} GPUs \
             of {nodes} nodes, {sms} SMs"
        )
    }

    fn features(_: &[f64], _: &Facts, shape: &AllToAllShape, time_us: f64) -> Features {
        let shape = shape.sane();
        let bytes = shape.tokens * shape.token_bytes * shape.places(shape.ranks);
        let found = [
            shape.tokens.log2(),
            shape.token_bytes,
            shape.ranks,
            shape.nodes,
            shape.topk,
            shape.experts.log2(),
            shape.sms,
            bytes.log2(),
            time_us.log2(),
        ];
        let mut features = [0.0; FEATURES_MAX];
        for (feature, value) in features.iter_mut().zip(found) {
            *feature = value as f32;
        }
        features
    }
}
