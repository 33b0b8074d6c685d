//! A form: the time of a shape from a few parameters that mean something.

use crate::spec::Gpu;
use crate::work::DType;

/// A parameter of a form, positive, searched between its bounds on a logarithmic scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Name in the fit's file, with its unit at the end where it has one.
    pub name: &'static str,
    /// Where the search starts: the value that the literature or other GPUs suggest.
    pub start: f64,
    /// Least value that makes sense.
    pub low: f64,
    /// Greatest value that makes sense.
    pub high: f64,
}

impl Parameter {
    /// A parameter with its start and bounds.
    pub const fn new(name: &'static str, start: f64, low: f64, high: f64) -> Self {
        Self { name, start, low, high }
    }
}

/// Facts of a GPU that forms rest on. Parameters are fractions of them where they can be, so that
/// the parameters of one GPU say something of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Streaming multiprocessors.
    pub sm_count: f64,
    /// Dense peak for operands of the format at hand, FLOP/us.
    pub peak: f64,
    /// Peak memory bandwidth, bytes/us.
    pub bandwidth: f64,
    /// Last-level cache, bytes.
    pub cache_bytes: f64,
}

impl Facts {
    /// Those of a GPU for operands of a format; the fp32 peak where it lacks the format.
    pub fn of(gpu: &Gpu, dtype: DType) -> Self {
        Self {
            sm_count: gpu.sm_count.max(1) as f64,
            peak: gpu.peak(dtype).unwrap_or(gpu.peak_fp32).value() * 1e-6,
            bandwidth: gpu.memory_bandwidth.value() * 1e-6,
            cache_bytes: gpu.l2_cache.value().max(1.0),
        }
    }
}

/// Exponent with which the achieved share of a peak grows with watts a peak FLOP: A100, H100, B200
/// sustain 0.795, 0.70, 0.62 of their peaks at 1.28, 0.71, 0.44 W a TFLOP/s, which is a power of
/// 0.24 (aiconfigurator@095f58a, GEMMs above 3 ms).
const POWER_EXPONENT: f64 = 0.24;

/// Watts for each peak FLOP/us from which on power holds nothing back: A100 does not throttle.
const POWER_ENOUGH: f64 = 1.28e-6;

impl Facts {
    /// Facts of a GPU for a model that was learned on another: the peak is that which the other's
    /// shares of it mean, given what power each has for its peak.
    pub fn transferred(gpu: &Gpu, learned_on: &Gpu, dtype: DType) -> Self {
        let (own, other) = (Self::of(gpu, dtype), Self::of(learned_on, dtype));
        let watts =
            |gpu: &Gpu, facts: &Self| (gpu.tdp.value().max(1.0) / facts.peak).min(POWER_ENOUGH);
        let power = (watts(gpu, &own) / watts(learned_on, &other)).powf(POWER_EXPONENT);
        Self { peak: own.peak * power, ..own }
    }
}

/// Most features that a form may have.
pub const FEATURES_MAX: usize = 32;

/// What the correction of a form looks at, in the order of [`Form::FEATURES`]; zeros after those.
pub type Features = [f32; FEATURES_MAX];

/// The time of a shape from parameters.
///
/// Implementations are pure and cheap: a price is wanted in under a microsecond.
pub trait Form: Send + Sync + 'static {
    /// What is run, sizes and flags.
    type Shape: Copy + std::fmt::Debug + Send + Sync;

    /// Name of the kind of cost, as `--kind` takes it.
    const KIND: &'static str;

    /// Counted up when the meaning of a parameter or a feature changes: a fit of another version is
    /// refused.
    const VERSION: u32;

    /// The parameters, in the order in which `values` are given.
    const PARAMETERS: &'static [Parameter];

    /// Names of the features, at most [`FEATURES_MAX`]; none for a form without correction.
    const FEATURES: &'static [&'static str];

    /// Time in us, positive and finite for any shape and any values between their bounds.
    fn time_us(values: &[f64], facts: &Facts, shape: &Self::Shape) -> f64;

    /// [`Form::time_us`] and [`Form::features`] together, where that saves doing the same twice.
    fn evaluate(values: &[f64], facts: &Facts, shape: &Self::Shape) -> (f64, Features) {
        let time_us = Self::time_us(values, facts, shape);
        (time_us, Self::features(values, facts, shape, time_us))
    }

    /// A shape as people and tables of measured rows write it: equal for equal work, whatever the
    /// regime that it is measured in.
    fn describe(shape: &Self::Shape) -> String {
        format!("{shape:?}")
    }

    /// What the correction looks at, given what [`Form::time_us`] said.
    fn features(values: &[f64], facts: &Facts, shape: &Self::Shape, time_us: f64) -> Features;
}
