//! Robust least squares: the parameters of a form from measured times.

use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt};
use nalgebra::{DMatrix, DVector, Dyn, Owned};

use crate::cost::{Facts, Form, Parameter};

/// Residual of a logarithm from which on a row pulls less than its square says (soft L1): about
/// twice the scatter between two versions of one library.
const ROBUST_SCALE: f64 = 0.1;

/// Weight of the prior: a parameter a factor of e from its start costs as much as this many rows
/// that are off by [`ROBUST_SCALE`]. Holds what the rows say nothing of; ten rows outweigh it.
const PRIOR_ROWS: f64 = 1.0;

/// Step of the numeric derivative of a form in the searched coordinates.
const FORM_STEP: f64 = 1e-4;

/// Evaluations of the derivative at most.
const PATIENCE: usize = 12;

/// The values that fit rows best, from a start; and how often the form was fitted to all rows.
pub(super) fn solve<F: Form>(start: &[f64], facts: &Facts, rows: &[(F::Shape, f64)]) -> Vec<f64> {
    let log_errors = |values: &[f64]| {
        let log_error = |(shape, measured_us): &(F::Shape, f64)| {
            (F::time_us(values, facts, shape) / measured_us).ln()
        };
        rows.iter().map(log_error).collect()
    };
    robust_least_squares(start, F::PARAMETERS, FORM_STEP, &log_errors)
}

/// The values within bounds whose log errors are least, robustly, from a start that they are held
/// near to as far as the errors say nothing. `step` is that of the numeric derivative, in a unit
/// of about a third of the logarithm of the range of a parameter.
///
/// Panics when start and bounds are not as many.
pub fn robust_least_squares(
    start: &[f64],
    bounds: &[Parameter],
    step: f64,
    log_errors: &dyn Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    assert_eq!(start.len(), bounds.len(), "a start for each parameter");
    let position: Vec<f64> =
        start.iter().zip(bounds).map(|(value, parameter)| to_search(*value, parameter)).collect();
    let position = DVector::from_vec(position);
    let problem = Problem { bounds, step, log_errors, prior: position.clone(), position };
    let (solved, _) =
        LevenbergMarquardt::new().with_patience(PATIENCE).with_ftol(1e-6).minimize(problem);
    solved.values(&solved.position)
}

/// A parameter on the whole line: logistic in its logarithm, so that bounds are never left.
fn to_search(value: f64, parameter: &Parameter) -> f64 {
    let span = (parameter.high / parameter.low).ln();
    let share = ((value / parameter.low).ln() / span).clamp(0.01, 0.99);
    (share / (1.0 - share)).ln()
}

fn from_search(position: f64, parameter: &Parameter) -> f64 {
    let share = 1.0 / (1.0 + (-position).exp());
    parameter.low * (parameter.high / parameter.low).powf(share)
}

/// Signed root of the soft L1 loss, so that its square is the loss; the residual itself near zero.
fn robust(residual: f64) -> f64 {
    let scaled = residual / ROBUST_SCALE;
    let loss = 2.0 * ((1.0 + scaled * scaled).sqrt() - 1.0);
    ROBUST_SCALE * loss.sqrt().copysign(residual)
}

struct Problem<'a> {
    bounds: &'a [Parameter],
    step: f64,
    log_errors: &'a dyn Fn(&[f64]) -> Vec<f64>,
    prior: DVector<f64>,
    position: DVector<f64>,
}

impl Problem<'_> {
    fn values(&self, position: &DVector<f64>) -> Vec<f64> {
        position.iter().zip(self.bounds).map(|(at, by)| from_search(*at, by)).collect()
    }

    fn residuals_at(&self, position: &DVector<f64>) -> DVector<f64> {
        let errors = (self.log_errors)(&self.values(position));
        let pull = ROBUST_SCALE * PRIOR_ROWS.sqrt();
        let prior = position.iter().zip(self.prior.iter()).map(|(at, from)| pull * (at - from));
        let count = errors.len() + position.len();
        DVector::from_iterator(count, errors.into_iter().map(robust).chain(prior))
    }
}

impl LeastSquaresProblem<f64, Dyn, Dyn> for Problem<'_> {
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, Dyn>;
    type ParameterStorage = Owned<f64, Dyn>;

    fn set_params(&mut self, position: &DVector<f64>) {
        self.position.copy_from(position);
    }

    fn params(&self) -> DVector<f64> {
        self.position.clone()
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        let residuals = self.residuals_at(&self.position);
        residuals.iter().all(|residual| residual.is_finite()).then_some(residuals)
    }

    fn jacobian(&self) -> Option<DMatrix<f64>> {
        let base = self.residuals()?;
        let mut jacobian = DMatrix::zeros(base.len(), self.position.len());
        for column in 0..self.position.len() {
            let mut moved = self.position.clone();
            moved[column] += self.step;
            let difference = (self.residuals_at(&moved) - &base) / self.step;
            jacobian.set_column(column, &difference);
        }
        Some(jacobian)
    }
}
