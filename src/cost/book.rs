//! The price book of kernels: models in order, the first answer wins, and who answered is kept.

use serde::Serialize;

use super::kernel::{KernelModel, Roofline};
use crate::spec::{Fit, Gpu, Stack};
use crate::units::Seconds;
use crate::work::Kernel;

/// What a price rests on, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A measurement of this kernel on this GPU.
    MeasuredTable,
    /// A form whose parameters were learned from measurements of this GPU.
    Fit,
    /// Rates of the GPU and fractions of them that kernels of this kind reach.
    Roofline,
}

impl Evidence {
    /// Name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeasuredTable => "measured table",
            Self::Fit => "fit",
            Self::Roofline => "roofline",
        }
    }
}

/// What one kernel costs on an otherwise idle GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelPrice {
    /// Time for which the stream is busy with it.
    pub time: Seconds,
    /// Expected absolute error of the time over the time.
    pub relative_error: f64,
    /// Who answered.
    pub evidence: Evidence,
    /// Share of the time that memory traffic sets, 0 to 1: what slows when bandwidth is taken away.
    pub memory_share: f64,
}

/// Prices of kernels on one GPU under one software stack.
pub struct KernelBook {
    /// Ordered by evidence; asked before the roofline.
    models: Vec<(Evidence, Box<dyn KernelModel>)>,
    /// Answers whatever the models leave open.
    roofline: Roofline,
    compute_factor: f64,
}

impl KernelBook {
    /// A book with the roofline; `fit` scales all times by its `compute_factor`.
    pub fn new(gpu: &Gpu, stack: &Stack, fit: &Fit) -> Self {
        Self {
            models: Vec::new(),
            roofline: Roofline::new(gpu, stack),
            compute_factor: fit.compute_factor,
        }
    }

    /// Adds a model, asked after those of stronger or equal evidence and before the roofline.
    #[must_use]
    pub fn with_model(mut self, evidence: Evidence, model: Box<dyn KernelModel>) -> Self {
        let place = self.models.partition_point(|(present, _)| *present <= evidence);
        self.models.insert(place, (evidence, model));
        self
    }

    /// Price of a kernel. Total: the roofline answers what no other model does.
    pub fn price(&self, kernel: &Kernel) -> KernelPrice {
        // The roofline is asked in any case: measurements give times, not what bounds them.
        let estimate = self.roofline.estimate(kernel);
        let (evidence, time, relative_error) = self
            .models
            .iter()
            .find_map(|(evidence, model)| {
                let prediction = model.predict(kernel)?;
                Some((*evidence, prediction.time, prediction.relative_error))
            })
            .unwrap_or((Evidence::Roofline, estimate.time, estimate.relative_error));
        KernelPrice {
            time: time * self.compute_factor,
            relative_error,
            evidence,
            memory_share: estimate.memory_share,
        }
    }
}

impl std::fmt::Debug for KernelBook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.models.iter().map(|(_, model)| model.name()).collect();
        formatter
            .debug_struct("KernelBook")
            .field("models", &names)
            .field("roofline", &self.roofline)
            .field("compute_factor", &self.compute_factor)
            .finish()
    }
}
