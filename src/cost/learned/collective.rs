//! Collectives within one scale-up domain: NCCL's three protocols as lines, each where its tuner
//! takes it, and all-reduce in the switch.
//!
//! `t = launch + line(S)`, a line being a latency a step and a rate on the wire: LL rises with the
//! load of a channel until all channels run, LL128 is straight, Simple passes from steps that wait
//! for each other (small chunks) to links that are full. Which one runs is the tuner's choice
//! ([`Fabric`]). Learned from aiconfigurator@095f58a, nccl-tests by stas00, Azure, awslabs and
//! vTrain, and vidur@7d47513.

mod fabric;
#[cfg(test)]
mod tests;

pub use fabric::Fabric;

use super::form::{FEATURES_MAX, Facts, Features, Form, Parameter};
use crate::work::CollectiveKind;

/// A collective within one domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CollectiveShape {
    /// The operation.
    pub kind: CollectiveKind,
    /// GPUs.
    pub ranks: f64,
    /// Bytes as nccl-tests counts them: the buffer of a rank, the gathered whole, the whole that is
    /// scattered.
    pub bytes: f64,
    /// Bytes of an element; what is added.
    pub element_bytes: f64,
    /// What the GPUs are linked by.
    pub fabric: Fabric,
    /// Whether the fabric's switch can reduce.
    pub in_switch: bool,
}

impl CollectiveShape {
    /// Steps one after the other, as NCCL counts them.
    fn steps(&self) -> f64 {
        match self.kind {
            CollectiveKind::AllReduce => 2.0 * (self.ranks - 1.0),
            CollectiveKind::SendReceive => 1.0,
            _ => self.ranks - 1.0,
        }
    }

    /// Bytes on the wire of a rank over those of the operation.
    fn wire(&self) -> f64 {
        match self.kind {
            CollectiveKind::SendReceive => 1.0,
            _ => self.steps() / self.ranks,
        }
    }

    /// Whether ranks add what they receive.
    fn adds(&self) -> bool {
        matches!(self.kind, CollectiveKind::AllReduce | CollectiveKind::ReduceScatter)
    }

    /// Whether NCCL reduces in the switch: from 6 ranks on, and not bytes, which the switch cannot
    /// add (4 B200 run a ring, and 8 H100 on int8, aiconfigurator@095f58a).
    fn takes_switch(&self) -> bool {
        self.in_switch
            && self.kind == CollectiveKind::AllReduce
            && self.ranks >= 6.0
            && self.element_bytes >= 2.0
    }

    /// Within what can be: at least two ranks and a byte.
    fn sane(&self) -> Self {
        let least = |value: f64, low: f64, high: f64| {
            if value.is_nan() { low } else { value.clamp(low, high) }
        };
        Self {
            ranks: least(self.ranks, 2.0, 1e6),
            bytes: least(self.bytes, 1.0, 1e15),
            element_bytes: least(self.element_bytes, 1.0, 16.0),
            ..*self
        }
    }
}

/// The form.
#[derive(Clone, Copy, Debug)]
pub struct CollectiveForm;

/// Channels over which a small message is spread one after the other (NVIDIA/nccl: 16 to 24 within
/// a node).
const CHANNELS: f64 = 16.0;

/// How sharply one protocol takes over from another, in natural logarithms of bytes: sizes in
/// tables lie a factor of 2 apart, and the search needs a slope.
const CHANGE_WIDTH: f64 = 0.05;

/// How sharply the least of three lines is taken where the tuner has no say (sends and receives).
const LEAST_SHARPNESS: f64 = 12.0;

/// Places of parameters in `values`.
mod at {
    pub(super) const LAUNCH: usize = 0;
    pub(super) const LL_STEP: usize = 1;
    pub(super) const LL_RATE: usize = 2;
    pub(super) const LL_CHANNEL: usize = 3;
    pub(super) const LL128_LAUNCH: usize = 4;
    pub(super) const LL128_STEP: usize = 5;
    pub(super) const LL128_RATE: usize = 6;
    pub(super) const SIMPLE_LAUNCH: usize = 7;
    pub(super) const SIMPLE_STEP: usize = 8;
    pub(super) const SIMPLE_RATE: usize = 9;
    pub(super) const SIMPLE_HEADROOM: usize = 10;
    pub(super) const SIMPLE_SHARPNESS: usize = 11;
    pub(super) const PAIR: usize = 12;
    pub(super) const CONTENTION: usize = 13;
    pub(super) const NARROW: usize = 14;
    pub(super) const LL_END: usize = 15;
    pub(super) const LL128_END: usize = 16;
    pub(super) const SWITCH_LAUNCH: usize = 17;
    pub(super) const SWITCH_RATE: usize = 18;
    pub(super) const SWITCH_HEADROOM: usize = 19;
    pub(super) const SWITCH_FROM: usize = 20;
}

/// Starts are typical of 9 GPUs (aiconfigurator@095f58a); rates are over those of [`Fabric`].
const PARAMETERS: &[Parameter] = &[
    Parameter::new("launch_us", 7.0, 0.5, 120.0),
    Parameter::new("ll_step_us", 0.8, 0.05, 8.0),
    Parameter::new("ll_rate_fraction", 1.0, 0.05, 8.0),
    Parameter::new("ll_channel_bytes", 8e4, 1e3, 4e6),
    Parameter::new("ll128_launch_us", 6.0, 0.02, 90.0),
    Parameter::new("ll128_step_us", 2.0, 0.02, 25.0),
    Parameter::new("ll128_rate_fraction", 1.1, 0.05, 8.0),
    Parameter::new("simple_launch_us", 9.0, 0.05, 300.0),
    Parameter::new("simple_step_us", 6.0, 0.02, 80.0),
    Parameter::new("simple_rate_fraction", 1.1, 0.01, 4.0),
    Parameter::new("simple_headroom", 1.6, 1.0, 8.0),
    Parameter::new("simple_sharpness", 2.5, 1.0, 10.0),
    Parameter::new("pair_overhead", 0.6, 0.003, 4.0),
    Parameter::new("contention", 0.02, 0.001, 4.0),
    Parameter::new("byte_overhead", 1.05, 0.8, 1.3),
    Parameter::new("ll_end", 1.0, 0.6, 1.7),
    Parameter::new("ll128_end", 1.0, 0.4, 2.5),
    Parameter::new("switch_launch_us", 40.0, 5.0, 400.0),
    Parameter::new("switch_rate_fraction", 0.68, 0.1, 3.0),
    Parameter::new("switch_headroom", 1.7, 1.0, 8.0),
    Parameter::new("switch_from_bytes", 1.6e7, 2e6, 1.2e8),
];

impl Form for CollectiveForm {
    type Shape = CollectiveShape;

    const KIND: &'static str = "collective";
    const VERSION: u32 = 1;
    const PARAMETERS: &'static [Parameter] = PARAMETERS;
    const FEATURES: &'static [&'static str] =
        &["bytes_log2", "ranks", "rank_bytes_log2", "element_bytes", "protocol"];

    fn time_us(values: &[f64], _: &Facts, shape: &CollectiveShape) -> f64 {
        let shape = shape.sane();
        let lines = Lines::new(values, &shape);
        match shape.kind {
            CollectiveKind::AllToAll | CollectiveKind::SendReceive => lines.pairwise(shape.bytes),
            _ => lines.ring(shape.bytes),
        }
    }

    fn describe(shape: &CollectiveShape) -> String {
        let CollectiveShape { kind, ranks, bytes, element_bytes, .. } = shape;
        format!("{} of {bytes} bytes ({element_bytes} an element) on {ranks} GPUs", kind.name())
    }

    fn features(values: &[f64], _: &Facts, shape: &CollectiveShape, _: f64) -> Features {
        let shape = shape.sane();
        let lines = Lines::new(values, &shape);
        let found = [
            shape.bytes.log2(),
            shape.ranks,
            (shape.bytes / shape.ranks).log2(),
            // Where nothing is added the format is but a name.
            if shape.adds() { shape.element_bytes } else { 0.0 },
            lines.protocol(shape.bytes),
        ];
        let mut features = [0.0; FEATURES_MAX];
        for (feature, value) in features.iter_mut().zip(found) {
            *feature = value as f32;
        }
        features
    }
}

/// The lines of a shape: what does not depend on its bytes, so that they can be asked for others.
struct Lines<'a> {
    values: &'a [f64],
    shape: &'a CollectiveShape,
    /// Bytes on the wire a byte of the operation, with all that makes the wire slower.
    load: f64,
    steps: f64,
    from_ll: f64,
    to_simple: f64,
}

impl<'a> Lines<'a> {
    fn new(values: &'a [f64], shape: &'a CollectiveShape) -> Self {
        let changes = shape.fabric.changes(shape);
        let from_ll = changes.from_ll.max(1.0) * values[at::LL_END];
        let to_simple = changes.to_simple.max(1.0) * values[at::LL128_END];
        let narrow =
            if shape.adds() && shape.element_bytes < 2.0 { values[at::NARROW] } else { 1.0 };
        // Two ranks copy half of the buffer for what eight copy an eighth, by the same few SMs;
        // rates are those of eight.
        let pair = |ranks: f64| 1.0 + values[at::PAIR] * 2.0 / ranks;
        let pair = pair(shape.ranks) / pair(8.0);
        let contention = (shape.ranks / 2.0).powf(values[at::CONTENTION]);
        let load = shape.wire() * narrow * pair * contention / shape.fabric.rings(shape.ranks);
        let to_simple = to_simple.max(from_ll);
        Self { values, shape, load, steps: shape.steps(), from_ll, to_simple }
    }

    fn ll(&self, bytes: f64) -> f64 {
        let belief = self.shape.fabric.belief();
        // A channel is filled before the next is used, so the time stands still between.
        let channel = self.values[at::LL_CHANNEL] * self.shape.ranks;
        let busiest = (CHANNELS * bytes).min(channel).max(bytes);
        self.values[at::LAUNCH]
            + self.values[at::LL_STEP] * self.steps
            + busiest * self.load / (self.values[at::LL_RATE] * belief.ll)
    }

    fn ll128(&self, bytes: f64) -> f64 {
        let bus = self.shape.fabric.belief().bus;
        self.values[at::LAUNCH]
            + self.values[at::LL128_LAUNCH]
            + self.values[at::LL128_STEP] * self.steps
            + bytes * self.load / (self.values[at::LL128_RATE] * bus)
    }

    fn simple(&self, bytes: f64) -> f64 {
        let full = bytes * self.load / self.rate(at::SIMPLE_RATE);
        let waits = self.values[at::SIMPLE_LAUNCH] + self.values[at::SIMPLE_STEP] * self.steps;
        let sharpness = self.values[at::SIMPLE_SHARPNESS];
        self.values[at::LAUNCH]
            + greater(waits + full / self.values[at::SIMPLE_HEADROOM], full, sharpness)
    }

    fn switch(&self, bytes: f64) -> f64 {
        let full = bytes / self.rate(at::SWITCH_RATE);
        let waits = self.values[at::SWITCH_LAUNCH];
        let sharpness = self.values[at::SIMPLE_SHARPNESS];
        self.values[at::LAUNCH]
            + greater(waits + full / self.values[at::SWITCH_HEADROOM], full, sharpness)
    }

    fn rate(&self, parameter: usize) -> f64 {
        self.values[parameter] * self.shape.fabric.belief().bus
    }

    /// The protocols one after the other. Where one takes over it never makes a larger message
    /// faster: then the time stands still.
    fn ring(&self, bytes: f64) -> f64 {
        let mut time = self.ll(bytes.min(self.from_ll));
        if self.to_simple > self.from_ll {
            let next = self.ll128(bytes.min(self.to_simple));
            time += passed(bytes, self.from_ll) * (next - time).max(0.0);
        }
        // A change to Simple comes at full width only after the protocol before it.
        time += passed(bytes, self.to_simple) * (self.simple(bytes) - time).max(0.0);
        if !self.shape.takes_switch() {
            return time;
        }
        let from = self.values[at::SWITCH_FROM];
        let before = if bytes > from { self.ring_until(from) } else { time };
        before + passed(bytes, from) * (self.switch(bytes) - before).max(0.0)
    }

    /// The ring's time at the size from which on the switch reduces.
    fn ring_until(&self, bytes: f64) -> f64 {
        let ring = CollectiveShape { in_switch: false, ..*self.shape };
        Lines { shape: &ring, ..*self }.ring(bytes)
    }

    /// Sends and receives with each peer: LL by the bytes of a peer, then few channels, then all.
    fn pairwise(&self, bytes: f64) -> f64 {
        let belief = self.shape.fabric.belief();
        let launch = self.values[at::LAUNCH];
        let peer =
            if self.shape.kind == CollectiveKind::SendReceive { 1.0 } else { self.shape.ranks };
        let ll = launch
            + self.values[at::LL_STEP] * self.steps
            + bytes / peer * CHANNELS / (self.values[at::LL_RATE] * belief.ll);
        let few = self.ll128(bytes);
        let all = launch
            + self.values[at::LL128_LAUNCH]
            + self.values[at::LL128_STEP] * self.steps
            + self.values[at::SIMPLE_LAUNCH]
            + bytes * self.load / self.rate(at::SIMPLE_RATE);
        let least = ll.min(few).min(all);
        let sum: f64 = [ll, few, all].iter().map(|line| (least / line).powf(LEAST_SHARPNESS)).sum();
        least * sum.powf(-1.0 / LEAST_SHARPNESS)
    }

    /// Which protocol a ring runs: 0 LL, 1 LL128, 2 Simple, 3 in the switch.
    fn protocol(&self, bytes: f64) -> f64 {
        if matches!(self.shape.kind, CollectiveKind::AllToAll | CollectiveKind::SendReceive) {
            return 0.0;
        }
        if self.shape.takes_switch() && bytes >= self.values[at::SWITCH_FROM] {
            return 3.0;
        }
        f64::from(u8::from(bytes >= self.from_ll)) + f64::from(u8::from(bytes >= self.to_simple))
    }
}

/// Share of the way that a size is past a change, 0 to 1.
fn passed(bytes: f64, change: f64) -> f64 {
    let at = (bytes / change).ln() / CHANGE_WIDTH;
    1.0 / (1.0 + (-at).clamp(-50.0, 50.0).exp())
}

/// The greater of two, rounded off where they are alike: their sum at a sharpness of 1.
fn greater(one: f64, other: f64, sharpness: f64) -> f64 {
    let most = one.max(other);
    let less = one.min(other) / most;
    most * (1.0 + less.powf(sharpness)).powf(1.0 / sharpness)
}
