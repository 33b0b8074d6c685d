//! A GPU's model, or where nobody measured it, models of the GPUs most like it.

use super::form::{Facts, Form};
use super::model::{Answer, Learned};
use crate::spec::{Fit, Gpu, LearnedModel};
use crate::work::DType;

/// How many GPUs are asked about one that nobody measured.
const NEIGHBOURS: usize = 3;

/// GPUs further than the nearest by more than this say nothing that it does not say better.
const SPREAD: f64 = 0.5;

/// Expected relative error, one sigma, of a GPU predicted from others, and more for each unit of
/// distance: GEMMs and attention of training, each of eight GPUs predicted from the others, leave 9
/// and 10 % (aiconfigurator@095f58a), near-identical ones of one generation no less.
const ERROR: f64 = 0.10;
const ERROR_A_DISTANCE: f64 = 0.05;

/// Nearer than this is the same chip: another name, or a link that was cut.
const SAME_CHIP: f64 = 0.02;
const SAME_CHIP_ERROR: f64 = 0.03;

/// Nearer than this is the same die at the same power, with other memory.
const SAME_DIE: f64 = 0.05;

/// A fit and the GPU that it was measured on.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredOn<'a> {
    /// What was learned.
    pub fit: &'a Fit,
    /// Where.
    pub gpu: &'a Gpu,
}

/// Answers for one form and case on one GPU.
#[derive(Clone, Debug)]
pub struct Estimator<F: Form> {
    /// Models with weights that sum to 1.
    members: Vec<(f64, Learned<F>)>,
    /// The GPU that stands in; `None` for the GPU itself.
    scaled_from: Option<String>,
    more_error: f64,
}

impl<F: Form> Estimator<F> {
    /// From the first of some cases that a fit of this very GPU (by name) knows, else from the
    /// GPUs most like it. `None` where no fit knows any of the cases.
    ///
    /// # Errors
    /// When a fit cannot be read.
    pub fn new(
        gpu: &Gpu,
        operands: DType,
        cases: &[String],
        fits: &[MeasuredOn<'_>],
    ) -> Result<Option<Self>, String> {
        for case in cases {
            for known in fits.iter().filter(|known| known.gpu.name == gpu.name) {
                if let Some(model) = model_of::<F>(known.fit, case) {
                    let learned = Learned::new(model, Facts::of(gpu, operands))?;
                    let members = vec![(1.0, learned)];
                    return Ok(Some(Self { members, scaled_from: None, more_error: 0.0 }));
                }
            }
        }
        Self::scaled(gpu, operands, cases, fits)
    }

    /// From up to [`NEIGHBOURS`] GPUs, nearer ones with more weight, each by its best case.
    fn scaled(
        gpu: &Gpu,
        operands: DType,
        cases: &[String],
        fits: &[MeasuredOn<'_>],
    ) -> Result<Option<Self>, String> {
        let mut near: Vec<(f64, &Gpu, &LearnedModel)> = fits
            .iter()
            .filter_map(|known| {
                let model = cases.iter().find_map(|case| model_of::<F>(known.fit, case))?;
                Some((gpu.distance(known.gpu), known.gpu, model))
            })
            .collect();
        near.sort_by(|left, right| left.0.total_cmp(&right.0));
        let Some((nearest, on, _)) = near.first().copied() else { return Ok(None) };
        // The same die at the same power says more than any other.
        let reach = if nearest < SAME_DIE { SAME_DIE } else { nearest + SPREAD };
        near.retain(|one| one.0 <= reach);
        near.truncate(NEIGHBOURS);
        // A distance of nothing is the same chip under another name.
        let weight = |distance: f64| 1.0 / (distance + 0.05);
        let total: f64 = near.iter().map(|one| weight(one.0)).sum();
        let member = |(distance, on, model): &(f64, &Gpu, &LearnedModel)| {
            let facts = Facts::transferred(gpu, on, operands);
            Ok::<_, String>((weight(*distance) / total, Learned::new(model, facts)?))
        };
        let members = near.iter().map(member).collect::<Result<_, _>>()?;
        let more_error =
            if nearest < SAME_CHIP { SAME_CHIP_ERROR } else { ERROR + ERROR_A_DISTANCE * nearest };
        Ok(Some(Self { members, scaled_from: Some(on.name.clone()), more_error }))
    }

    /// Time of a shape: the weighted geometric mean of the models' answers.
    pub fn predict(&self, shape: &F::Shape) -> Answer {
        let [(_, only)] = self.members.as_slice() else { return self.blend(shape) };
        let answer = only.predict(shape);
        Answer { relative_error: answer.relative_error.hypot(self.more_error), ..answer }
    }

    fn blend(&self, shape: &F::Shape) -> Answer {
        let mut sum =
            Answer { time_us: 0.0, relative_error: 0.0, outside: 0.0, is_measured: false };
        for (weight, model) in &self.members {
            let answer = model.predict(shape);
            sum.time_us += weight * answer.time_us.ln();
            sum.relative_error += weight * answer.relative_error;
            sum.outside = sum.outside.max(answer.outside);
        }
        Answer {
            time_us: sum.time_us.exp(),
            relative_error: sum.relative_error.hypot(self.more_error),
            ..sum
        }
    }

    /// The GPU whose models stand in, where nobody measured this one.
    pub fn scaled_from(&self) -> Option<&str> {
        self.scaled_from.as_deref()
    }

    /// Parameters of the first model, in the order of the form's.
    pub fn values(&self) -> &[f64] {
        self.members[0].1.values()
    }
}

fn model_of<'a, F: Form>(fit: &'a Fit, case: &str) -> Option<&'a LearnedModel> {
    fit.models.iter().find(|model| model.kind == F::KIND && model.case == case)
}
