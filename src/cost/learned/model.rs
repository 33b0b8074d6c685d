//! A learned model that answers: a form with its parameters, correction and expected error.

use rustc_hash::FxHashMap;

use super::form::{Facts, Features, Form};
use super::trees::Trees;
use crate::spec::LearnedModel;

/// Errors grow by this much of themselves for each natural-log unit (or unit of a feature that is
/// no logarithm) outside of what was measured: an assumption, wide on purpose.
const ERROR_A_UNIT_OUTSIDE: f64 = 0.5;

/// Scatter of one shape between two runs of one library on one machine (aiconfigurator@095f58a:
/// 1.7-5.9 % between versions).
const MEASURED_ERROR: f64 = 0.03;

/// What a learned model says of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Time, us.
    pub time_us: f64,
    /// Expected relative error, one sigma.
    pub relative_error: f64,
    /// How far outside of the measured domain the shape is, in units of the features; 0 within.
    pub outside: f64,
    /// Whether this very shape was measured, and its time kept.
    pub is_measured: bool,
}

/// A form with learned parameters on a GPU.
#[derive(Clone, Debug)]
pub struct Learned<F: Form> {
    values: Vec<f64>,
    facts: Facts,
    correction: Trees,
    error: Trees,
    relative_error: f64,
    /// Least and greatest value, by feature.
    domain: Vec<(f32, f32)>,
    /// Measured times in us that are kept, by shape.
    measured: FxHashMap<String, f64>,
    form: std::marker::PhantomData<F>,
}

impl<F: Form> Learned<F> {
    /// From a fit's file, on a GPU with some facts.
    ///
    /// # Errors
    /// When the model is of another form or version, or lacks something.
    pub fn new(model: &LearnedModel, facts: Facts) -> Result<Self, String> {
        let what = || format!("model {} {:?}", model.kind, model.case);
        if model.kind != F::KIND || model.version != F::VERSION {
            return Err(format!(
                "{}: is version {}, this stepcast reads {} version {}: calibrate again",
                what(),
                model.version,
                F::KIND,
                F::VERSION
            ));
        }
        let error = model.relative_error;
        if !error.is_finite() || error < 0.0 {
            return Err(format!("{}: relative_error is {error}; must not be negative", what()));
        }
        let value = |parameter: &super::Parameter| match model.parameters.get(parameter.name) {
            Some(value) if value.is_finite() && *value > 0.0 => Ok(*value),
            Some(value) => Err(format!(
                "{}: parameter {} is {value}; must be positive",
                what(),
                parameter.name
            )),
            None => Err(format!("{}: parameter {} is missing", what(), parameter.name)),
        };
        let values = F::PARAMETERS.iter().map(value).collect::<Result<_, _>>()?;
        let trees = |lines: &[String]| {
            Trees::from_lines(lines, F::FEATURES).map_err(|why| format!("{}: {why}", what()))
        };
        let domain = |name: &&str| match model.domain.get(*name) {
            Some([low, high]) => (*low as f32, *high as f32),
            None => (f32::NEG_INFINITY, f32::INFINITY),
        };
        let measured = model.measured_us.iter().map(|(shape, time_us)| {
            if time_us.is_finite() && *time_us > 0.0 {
                return Ok((shape.clone(), *time_us));
            }
            Err(format!("{}: the measured time of {shape:?} is {time_us}", what()))
        });
        Ok(Self {
            values,
            facts,
            correction: trees(&model.trees.correction)?,
            error: trees(&model.trees.error)?,
            relative_error: model.relative_error,
            domain: F::FEATURES.iter().map(domain).collect(),
            measured: measured.collect::<Result<_, _>>()?,
            form: std::marker::PhantomData,
        })
    }

    /// Parameters, in the order of the form's.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The same model on a GPU with other facts.
    #[must_use]
    pub fn with_facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }

    /// With one parameter set, by name; unknown names are a mistake of ours.
    #[must_use]
    pub fn with_value(mut self, name: &str, value: f64) -> Self {
        let place = F::PARAMETERS.iter().position(|parameter| parameter.name == name);
        let Some(place) = place else { panic!("{} has no parameter {name}", F::KIND) };
        self.values[place] = value;
        self
    }

    /// Time of a shape, and how sure that is.
    pub fn predict(&self, shape: &F::Shape) -> Answer {
        if !self.measured.is_empty()
            && let Some(time_us) = self.measured.get(&F::describe(shape))
        {
            let (relative_error, outside) = (MEASURED_ERROR, 0.0);
            return Answer { time_us: *time_us, relative_error, outside, is_measured: true };
        }
        if F::FEATURES.is_empty() {
            let form_us = F::time_us(&self.values, &self.facts, shape);
            let relative_error = self.relative_error;
            return Answer { time_us: form_us, relative_error, outside: 0.0, is_measured: false };
        }
        let (form_us, features) = F::evaluate(&self.values, &self.facts, shape);
        let outside = self.outside(&features);
        let error = self.relative_error * self.error.value(&features).exp();
        Answer {
            time_us: form_us * self.correction.value(&features).exp(),
            relative_error: error * (1.0 + ERROR_A_UNIT_OUTSIDE * outside),
            outside,
            is_measured: false,
        }
    }

    /// Distance to the measured domain, the largest of any feature.
    fn outside(&self, features: &Features) -> f64 {
        let distance = |(value, (low, high)): (&f32, &(f32, f32))| (low - value).max(value - high);
        let far = features.iter().zip(&self.domain).map(distance).fold(0.0_f32, f32::max);
        f64::from(far)
    }
}
