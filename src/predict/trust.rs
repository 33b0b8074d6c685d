//! What a predicted step rests on, and how far off it may be.

use super::facts::work_counts;
use super::price::{Grounds, Pricing};
use crate::analysis::{Evidence, StepErrors};
use crate::cost;
use crate::program::{Program, Work, WorkKind};
use crate::spec::{Fit, Scenario};
use crate::work::Class;

/// Error that all communication of a machine has in common where nothing was measured on it:
/// all-reduces of 64 MB and more differ by 2-10 % between machines of one kind, smaller ones by
/// 10-54 % (vidur, vTrain, stas00, Azure against aiconfigurator).
const NETWORK_ERROR: f64 = 0.12;

/// Share of the kernels' time outside of what was measured from which on it is told.
const OUTSIDE_TOLD: f64 = 0.05;

/// Which share of the busy time was priced by what.
pub(super) fn evidence(program: &Program, pricing: &Pricing) -> Evidence {
    let mut seconds = [0.0; 4];
    for counts in work_counts(program) {
        for (time, grounds) in times(&counts, pricing) {
            let slot = match grounds.evidence {
                cost::Evidence::MeasuredTable => 0,
                cost::Evidence::Fit => 1,
                cost::Evidence::Scaled => 2,
                cost::Evidence::Roofline => 3,
            };
            seconds[slot] += time;
        }
    }
    let total: f64 = seconds.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let [measured, fitted, scaled, roofline] = seconds.map(|part| part / total);
    Evidence {
        measured_fraction: measured,
        fitted_fraction: fitted,
        scaled_fraction: scaled,
        roofline_fraction: roofline,
    }
}

/// Time that a rank spends in each work, and what it rests on.
fn times<'a>(counts: &'a [f64], pricing: &'a Pricing) -> impl Iterator<Item = (f64, &'a Grounds)> {
    let timed = counts.iter().zip(&pricing.costs).map(|(count, cost)| count * cost.time.value());
    timed.zip(&pricing.grounds)
}

/// Errors of the busiest role.
///
/// Errors of fitted shapes are independent of each other; those of rooflines and of models of other
/// GPUs are not, since all kernels of a class share their fractions.
pub(super) fn errors(scenario: &Scenario, program: &Program, pricing: &Pricing) -> StepErrors {
    let all = work_counts(program);
    let busy = |counts: &Vec<f64>| times(counts, pricing).map(|(time, _)| time).sum::<f64>();
    let busiest = all.iter().max_by(|left, right| busy(left).total_cmp(&busy(right)));
    let Some(counts) = busiest else { return StepErrors::default() };
    let (mut kernels, mut collectives) = (Sum::default(), Sum::default());
    for ((time, grounds), work) in times(counts, pricing).zip(&program.works) {
        let class = class(work);
        let sum =
            if matches!(work.kind, WorkKind::Kernel(_)) { &mut kernels } else { &mut collectives };
        sum.add(time, grounds, class);
    }
    StepErrors {
        machine_compute: scenario.fit.machine_error.unwrap_or(Fit::MACHINE_ERROR),
        // `machine_error` is what kernels of a measured machine have in common; networks have none.
        machine_network: NETWORK_ERROR,
        kernels: kernels.error(),
        collectives: collectives.error(),
    }
}

fn class(work: &Work) -> Option<Class> {
    match &work.kind {
        WorkKind::Kernel(kernel) => Some(kernel.class()),
        WorkKind::HostCopy { .. }
        | WorkKind::Collective { .. }
        | WorkKind::Exchange { .. }
        | WorkKind::Recorded { .. }
        | WorkKind::Meeting { .. } => None,
    }
}

/// Times with their errors.
#[derive(Default)]
struct Sum {
    time: f64,
    independent_squares: f64,
    /// Errors that go together, by class.
    common: Vec<(Option<Class>, f64)>,
}

impl Sum {
    fn add(&mut self, time: f64, grounds: &Grounds, class: Option<Class>) {
        self.time += time;
        let error = time * grounds.relative_error;
        if matches!(grounds.evidence, cost::Evidence::Fit | cost::Evidence::MeasuredTable) {
            self.independent_squares += error * error;
            return;
        }
        match self.common.iter_mut().find(|(known, _)| *known == class) {
            Some((_, sum)) => *sum += error,
            None => self.common.push((class, error)),
        }
    }

    /// Of the sum, relative.
    fn error(&self) -> f64 {
        let common: f64 = self.common.iter().map(|(_, error)| error * error).sum();
        if self.time > 0.0 { (self.independent_squares + common).sqrt() / self.time } else { 0.0 }
    }
}

/// What the user should know of the costs.
pub(super) fn warnings(scenario: &Scenario, program: &Program, pricing: &Pricing) -> Vec<String> {
    let mut warnings = Vec::new();
    let gpu = &scenario.cluster.gpu.name;
    if let Some(from) = &pricing.scaled_from {
        warnings.push(format!(
            "nobody measured GEMMs on {gpu}: those of {from} and its like are scaled by data sheets, \
             and the interval is wider; `stepcast calibrate` learns from microbenchmarks"
        ));
    }
    let (mut outside, mut all) = (0.0, 0.0);
    for counts in work_counts(program) {
        for (time, grounds) in times(&counts, pricing) {
            all += time;
            outside += if grounds.is_outside { time } else { 0.0 };
        }
    }
    if outside > OUTSIDE_TOLD * all {
        warnings.push(format!(
            "{:.0} % of the busy time is in kernels of shapes outside of those measured on {gpu}; \
             the interval is widened",
            100.0 * outside / all
        ));
    }
    warnings
}
