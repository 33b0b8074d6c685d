//! From observations to a learned model: parameters, correction, expected error.

use std::collections::{BTreeMap, BTreeSet};

use super::accuracy::residuals;
use super::boost::{Growth, grow};
use super::measured::{Measured, Observation};
use super::solve::solve;
use crate::analysis::quantile;
use crate::cost::{Facts, Features, Trees};
use crate::spec::{LearnedModel, LearnedTrees, Residuals};

/// One row of this many is held out inside, to tell how good the model is on shapes it never saw.
const HOLD_OUT: u64 = 5;

/// Fewer rows than this are all fitted: nothing is held out.
const HOLD_OUT_MIN: usize = 20;

/// Least expected error of a model of which nothing was held out: it was never put to the test.
const UNTESTED_ERROR: f64 = 0.10;

/// Rows to which parameters are fitted at most: every so many of all, ordered by time.
const SAMPLE: usize = 1500;

/// Growth of the trees that predict the error: coarse, since errors say little of errors.
const ERROR_GROWTH: Growth = Growth { trees: 12, depth: 3, rate: 0.3, ridge: 30.0, clip: 1.5 };

/// Least relative error of a row that error trees look at: the logarithm of none has no value.
const ERROR_MIN: f64 = 0.002;

/// Share of errors within one sigma of a normal distribution.
const WITHIN_ONE_SIGMA: f64 = 0.6827;

/// Learns the model of one GPU and case; `start` are the values that the search starts from and is
/// drawn to, and `keep_rows` keeps the measured times beside the form.
///
/// Panics without observations.
pub(super) fn learn<F: Measured>(
    observations: &[&Observation<F::Shape>],
    facts: &Facts,
    start: &[f64],
    keep_rows: bool,
) -> LearnedModel {
    assert!(!observations.is_empty(), "a model needs rows");
    // In an order that does not depend on that of files.
    let mut rows: Vec<(u64, F::Shape, f64)> = observations
        .iter()
        .map(|seen| (F::split_key(&seen.shape), seen.shape, seen.time_us))
        .collect();
    rows.sort_by(|left, right| left.0.cmp(&right.0).then(left.2.total_cmp(&right.2)));
    let holds_out = rows.len() >= HOLD_OUT_MIN;
    let (held_out, fitted): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| holds_out && row.0 % HOLD_OUT == 0);
    let pairs = |rows: &[(u64, F::Shape, f64)]| -> Vec<(F::Shape, f64)> {
        rows.iter().map(|row| (row.1, row.2)).collect()
    };
    let (all, fitted, held_out) = (pairs(&rows), pairs(&fitted), pairs(&held_out));

    let values = solve::<F>(start, facts, &sample(&fitted));
    let judge = Correction::learn::<F>(&values, facts, &fitted);
    let mut found = BTreeMap::new();
    found.insert("fitted".to_owned(), judge.residuals::<F>(&values, facts, &fitted));
    if !held_out.is_empty() {
        found.insert("held_out".to_owned(), judge.residuals::<F>(&values, facts, &held_out));
    }
    let unseen = if held_out.is_empty() { &fitted } else { &held_out };
    let (relative_error, error) = judge.errors::<F>(&values, facts, unseen);
    let least = if held_out.is_empty() { UNTESTED_ERROR } else { 0.0 };
    let relative_error = relative_error.max(least);
    let correction = Correction::learn::<F>(&values, facts, &all);
    let sources: BTreeSet<&str> = observations.iter().map(|seen| seen.source.as_str()).collect();
    LearnedModel {
        kind: F::KIND.to_owned(),
        case: observations[0].case.clone(),
        version: F::VERSION,
        row_count: rows.len() as u64,
        tables: Vec::new(),
        sources: sources.into_iter().map(super::provenance::describe).collect(),
        parameters: F::PARAMETERS
            .iter()
            .zip(&values)
            .map(|(parameter, value)| (parameter.name.to_owned(), short(*value)))
            .collect(),
        domain: domain::<F>(&values, facts, &all),
        relative_error: short(relative_error),
        residuals: found,
        measured_us: if keep_rows { kept::<F>(&all) } else { BTreeMap::new() },
        trees: LearnedTrees {
            correction: correction.trees.to_lines(F::FEATURES),
            error: error.to_lines(F::FEATURES),
        },
    }
}

/// The median time of each shape.
fn kept<F: Measured>(rows: &[(F::Shape, f64)]) -> BTreeMap<String, f64> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (shape, time_us) in rows {
        times.entry(F::describe(shape)).or_default().push(*time_us);
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        short(quantile(&times, 0.5))
    };
    times.into_iter().map(|(shape, times)| (shape, median(times))).collect()
}

/// Five digits: more than any fit knows.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// Every so many rows, ordered by time.
fn sample<S: Copy>(rows: &[(S, f64)]) -> Vec<(S, f64)> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|left, right| left.1.total_cmp(&right.1));
    let step = (sorted.len() as f64 / SAMPLE as f64).max(1.0);
    let count = (sorted.len() as f64 / step) as usize;
    (0..count).map(|index| sorted[(index as f64 * step) as usize]).collect()
}

struct Correction {
    trees: Trees,
}

impl Correction {
    fn learn<F: Measured>(values: &[f64], facts: &Facts, rows: &[(F::Shape, f64)]) -> Self {
        let (features, targets) = left::<F>(values, facts, rows);
        let growth = F::growth(rows.len());
        Self { trees: grow(&features, &targets, F::FEATURES.len(), &growth) }
    }

    fn predict<F: Measured>(&self, values: &[f64], facts: &Facts, shape: &F::Shape) -> f64 {
        let form_us = F::time_us(values, facts, shape);
        form_us * self.trees.value(&F::features(values, facts, shape, form_us)).exp()
    }

    fn residuals<F: Measured>(
        &self,
        values: &[f64],
        facts: &Facts,
        rows: &[(F::Shape, f64)],
    ) -> Residuals {
        let pair = |(shape, measured): &(F::Shape, f64)| {
            (*measured, self.predict::<F>(values, facts, shape))
        };
        let found = residuals(&rows.iter().map(pair).collect::<Vec<_>>());
        Residuals {
            mape: short(found.mape),
            median_ape: short(found.median_ape),
            p95_ape: short(found.p95_ape),
            bias_time_weighted: short(found.bias_time_weighted),
            ..found
        }
    }

    /// One sigma of the relative error, and trees that say by how much a neighbourhood differs.
    fn errors<F: Measured>(
        &self,
        values: &[f64],
        facts: &Facts,
        rows: &[(F::Shape, f64)],
    ) -> (f64, Trees) {
        let (features, left) = left::<F>(values, facts, rows);
        let errors: Vec<f64> = features
            .iter()
            .zip(&left)
            .map(|(features, left)| (left - self.trees.value(features)).abs().max(ERROR_MIN))
            .collect();
        let mean = errors.iter().map(|error| error.ln()).sum::<f64>() / errors.len() as f64;
        let targets: Vec<f64> = errors.iter().map(|error| error.ln() - mean).collect();
        let trees = if rows.len() < 10 * HOLD_OUT_MIN {
            Trees::default()
        } else {
            grow(&features, &targets, F::FEATURES.len(), &ERROR_GROWTH)
        };
        let mut scaled: Vec<f64> = errors
            .iter()
            .zip(&features)
            .map(|(error, features)| error / trees.value(features).exp())
            .collect();
        scaled.sort_by(f64::total_cmp);
        (quantile(&scaled, WITHIN_ONE_SIGMA), trees)
    }
}

/// Features of rows, and the logarithm of what the form leaves of their times.
fn left<F: Measured>(
    values: &[f64],
    facts: &Facts,
    rows: &[(F::Shape, f64)],
) -> (Vec<Features>, Vec<f64>) {
    rows.iter()
        .map(|(shape, measured)| {
            let form_us = F::time_us(values, facts, shape);
            (F::features(values, facts, shape, form_us), (measured / form_us).ln())
        })
        .unzip()
}

/// Least and greatest value of the features that are sizes: those whose names begin with `log_`.
fn domain<F: Measured>(
    values: &[f64],
    facts: &Facts,
    rows: &[(F::Shape, f64)],
) -> BTreeMap<String, [f64; 2]> {
    let (features, _) = left::<F>(values, facts, rows);
    let range = |(index, name): (usize, &&str)| {
        let (low, high) = features
            .iter()
            .map(|row| f64::from(row[index]))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        ((*name).to_owned(), [short(low), short(high)])
    };
    let is_size = |feature: &(usize, &&str)| feature.1.starts_with("log_");
    F::FEATURES.iter().enumerate().filter(is_size).map(range).collect()
}
