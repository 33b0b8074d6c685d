//! Fits what runs may be fitted to: two factors of a cluster, and numbers of a stack.
//!
//! Nothing else is within reach: no run, no model and no plan has a number of its own.

use rayon::prelude::*;
use serde::Serialize;

use super::entry::Entry;
use super::run::scenario;
use crate::analysis::Errors;
use crate::calibrate::robust_least_squares;
use crate::cost::Parameter;
use crate::predict::{Detail, simulate};
use crate::spec::{DataSources, Scenario};
use crate::units::Seconds;

/// What can be fitted: its bounds, how it is read and how it is set.
pub struct Knob {
    /// Key and bounds; the start is the value that the scenario has.
    parameter: Parameter,
    of: Part,
    is_time: bool,
    get: fn(&Scenario) -> f64,
    set: fn(&mut Scenario, f64),
}

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of the cluster: at most two.
    Cluster,
    /// Of the stack, on every GPU and cluster.
    Stack,
}

/// A number of the stack that is a plain number.
macro_rules! share {
    ($key:ident, $low:expr, $high:expr) => {
        Knob {
            parameter: Parameter::new(stringify!($key), 1.0, $low, $high),
            of: Part::Stack,
            is_time: false,
            get: |scenario| scenario.stack.$key,
            set: |scenario, value| scenario.stack.$key = value,
        }
    };
}

/// A number of the stack that is a time, in microseconds.
macro_rules! time_us {
    ($key:ident, $low:expr, $high:expr) => {
        Knob {
            parameter: Parameter::new(stringify!($key), 1.0, $low, $high),
            of: Part::Stack,
            is_time: true,
            get: |scenario| scenario.stack.$key.value() * 1e6,
            set: |scenario, value| scenario.stack.$key = Seconds::new(value / 1e6),
        }
    };
}

/// All that can be fitted.
pub static KNOBS: [Knob; 19] = [
    Knob {
        parameter: Parameter::new("compute_factor", 1.0, 0.5, 2.0),
        of: Part::Cluster,
        is_time: false,
        get: |scenario| scenario.fit.compute_factor,
        set: |scenario, value| scenario.fit.compute_factor = value,
    },
    Knob {
        parameter: Parameter::new("network_factor", 1.0, 0.4, 2.5),
        of: Part::Cluster,
        is_time: false,
        get: |scenario| scenario.fit.network_factor,
        set: |scenario, value| scenario.fit.network_factor = value,
    },
    share!(norm_bandwidth_fraction, 0.05, 1.0),
    share!(elementwise_bandwidth_fraction, 0.05, 1.0),
    share!(softmax_bandwidth_fraction, 0.05, 1.0),
    share!(optimizer_bandwidth_fraction, 0.05, 1.0),
    share!(overlap_tp_fraction, 0.01, 1.0),
    share!(memory_kernel_slowdown, 1.0, 2.5),
    share!(compute_kernel_slowdown, 1.0, 2.0),
    share!(communication_slowdown, 1.0, 3.0),
    share!(posted_receive_slowdown, 1.0, 1.5),
    share!(straggler_fraction, 0.0, 0.1),
    share!(kernel_time_factor, 0.5, 2.0),
    share!(narrow_product_time_factor, 0.5, 2.0),
    time_us!(launch_cost, 0.5, 100.0),
    time_us!(backward_launch_cost, 0.5, 100.0),
    time_us!(collective_launch_cost, 1.0, 500.0),
    time_us!(step_host_time, 10.0, 1e6),
    time_us!(micro_batch_host_time, 1.0, 1e5),
];

impl Knob {
    /// Its key, of the fit or of the stack.
    pub fn key(&self) -> &'static str {
        self.parameter.name
    }

    /// What it is a number of.
    pub fn part(&self) -> Part {
        self.of
    }

    /// A value as it is written in TOML.
    pub fn written(&self, value: f64) -> String {
        if self.is_time { format!("\"{value} us\"") } else { format!("{value:?}") }
    }

    /// The knob of a key.
    pub fn named(key: &str) -> Option<&'static Self> {
        KNOBS.iter().find(|knob| knob.key() == key)
    }
}

/// A fitted number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitted {
    /// Its key; times are in microseconds.
    pub key: &'static str,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
}

/// What fitting to runs found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunFit {
    /// The numbers.
    pub fitted: Vec<Fitted>,
    /// Runs that they were fitted to.
    pub fitted_count: u64,
    /// Errors on these, before and after.
    pub fitted_errors: [Option<Errors>; 2],
    /// Runs that were held out: a fixed quarter of the plans; where there are fewer than twelve
    /// runs each in turn.
    pub held_out_count: u64,
    /// Errors on these, before and after.
    pub held_out_errors: [Option<Errors>; 2],
    /// Error, one sigma, that predictions of the machine still have in common: the median error of
    /// the runs that were held out, 2 % at least.
    pub machine_error: Option<f64>,
    /// Runs without a scenario or a prediction, with the reason.
    pub left_out: Vec<String>,
}

/// Step of the numeric derivative: large enough for a schedule to move smoothly.
const STEP: f64 = 0.02;
/// Fewer runs are held out one by one.
const LEAST_RUNS: usize = 12;

/// Least error in common that is claimed after fitting: repeats of a run on a quiet cluster differ
/// by 2 % (DGX Cloud Benchmarking across releases 2-5 %).
const LEAST_ERROR: f64 = 0.02;

/// A run that can be simulated.
struct Sample {
    scenario: Scenario,
    measured: Seconds,
    is_held_out: bool,
}

/// Fits `knobs` to runs; `done` is called after each simulation.
pub fn fit_runs(
    sources: &DataSources,
    entries: &[Entry],
    knobs: &[&Knob],
    done: &(dyn Fn() + Sync),
) -> RunFit {
    let read: Vec<Result<Sample, String>> =
        entries.par_iter().map(|entry| sample(sources, entry)).collect();
    let mut samples = Vec::new();
    let mut left_out = Vec::new();
    for result in read {
        match result {
            Ok(sample) => samples.push(sample),
            Err(reason) => left_out.push(reason),
        }
    }
    let fitter = Fitter { knobs, done };
    let start = fitter.start(&samples);
    let one_by_one = samples.len() < LEAST_RUNS;
    let (held_out, rest): (Vec<&Sample>, Vec<&Sample>) =
        samples.iter().partition(|sample| !one_by_one && sample.is_held_out);
    let values = fitter.solve(&start, &rest);
    let errors = |values: &[f64], samples: &[&Sample]| Errors::of(&fitter.pairs(values, samples));
    let held_out_errors = if one_by_one {
        let pairs = (0..rest.len()).flat_map(|out| {
            let others: Vec<&Sample> =
                rest.iter().enumerate().filter(|it| it.0 != out).map(|it| *it.1).collect();
            fitter.pairs(&fitter.solve(&start, &others), &rest[out..=out])
        });
        let pairs: Vec<(f64, f64)> = if rest.len() > 1 { pairs.collect() } else { Vec::new() };
        [errors(&start, &rest), Errors::of(&pairs)]
    } else {
        [errors(&start, &held_out), errors(&values, &held_out)]
    };
    let fitted = knobs.iter().zip(&start).zip(&values);
    RunFit {
        fitted: fitted
            .map(|((knob, &before), &after)| Fitted { key: knob.key(), before, after })
            .collect(),
        fitted_count: rest.len() as u64,
        fitted_errors: [errors(&start, &rest), errors(&values, &rest)],
        held_out_count: if one_by_one { rest.len() } else { held_out.len() } as u64,
        machine_error: held_out_errors[1].map(|it| it.median_ape.max(LEAST_ERROR)),
        held_out_errors,
        left_out,
    }
}

fn sample(sources: &DataSources, entry: &Entry) -> Result<Sample, String> {
    let told = |reason: String| format!("{}: {reason}", entry.id);
    let scenario = scenario(sources, entry).map_err(told)?;
    simulate(&scenario, Detail::Folded).map_err(|error| told(error.to_string()))?;
    Ok(Sample {
        is_held_out: is_of_held_out_quarter(&scenario),
        scenario,
        measured: entry.measured.step_time,
    })
}

/// Whether a run is one of the fixed quarter that is never fitted to.
///
/// # Errors
/// Why it has no scenario.
pub fn is_held_out(sources: &DataSources, entry: &Entry) -> Result<bool, String> {
    scenario(sources, entry).map(|scenario| is_of_held_out_quarter(&scenario))
}

/// By a hash (FNV-1a) of what it is a run of, so that repeats of one run are on one side.
fn is_of_held_out_quarter(scenario: &Scenario) -> bool {
    let Scenario { model, plan, training, cluster, .. } = scenario;
    let text = format!("{model:?}{plan:?}{training:?}{}", cluster.gpu_count());
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32).is_multiple_of(4)
}

struct Fitter<'a> {
    knobs: &'a [&'a Knob],
    done: &'a (dyn Fn() + Sync),
}

impl Fitter<'_> {
    /// Values of the first run, which all runs of a stack and a cluster share.
    fn start(&self, samples: &[Sample]) -> Vec<f64> {
        let value = |knob: &&Knob| match samples.first() {
            Some(sample) => {
                let Parameter { low, high, .. } = knob.parameter;
                (knob.get)(&sample.scenario).clamp(low, high)
            }
            None => knob.parameter.start,
        };
        self.knobs.iter().map(value).collect()
    }

    fn solve(&self, start: &[f64], samples: &[&Sample]) -> Vec<f64> {
        let bounds: Vec<Parameter> = self.knobs.iter().map(|knob| knob.parameter).collect();
        let log_errors = |values: &[f64]| {
            let pairs = self.pairs(values, samples);
            pairs.iter().map(|(measured, predicted)| (predicted / measured).ln()).collect()
        };
        robust_least_squares(start, &bounds, STEP, &log_errors)
    }

    /// Measured and predicted step times.
    fn pairs(&self, values: &[f64], samples: &[&Sample]) -> Vec<(f64, f64)> {
        let pair = |sample: &&Sample| {
            let mut scenario = sample.scenario.clone();
            for (knob, &value) in self.knobs.iter().zip(values) {
                (knob.set)(&mut scenario, value);
            }
            (self.done)();
            // A step that cannot be simulated with these numbers ends the search there.
            let prediction = simulate(&scenario, Detail::Folded);
            let predicted = prediction.map_or(f64::NAN, |it| it.summary.step_time_s);
            (sample.measured.value(), predicted)
        };
        samples.par_iter().map(pair).collect()
    }
}
