//! The price book of kernels: models in order, the first answer wins, and who answered is kept.

use serde::Serialize;

use super::kernel::{KernelModel, Prediction, Roofline};
use crate::spec::{Fit, Gpu, Stack};
use crate::units::Seconds;
use crate::work::{Kernel, Pass};

/// What a price rests on, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A measurement of this kernel on this GPU.
    MeasuredTable,
    /// A form whose parameters were learned from measurements of this GPU.
    Fit,
    /// The same, learned on other GPUs and scaled by data sheets.
    Scaled,
    /// Rates of the GPU and fractions of them that kernels of this kind reach.
    Roofline,
}

impl Evidence {
    /// Name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeasuredTable => "measured table",
            Self::Fit => "fit",
            Self::Scaled => "fit of another GPU",
            Self::Roofline => "roofline",
        }
    }
}

/// What one kernel costs on an otherwise idle GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelPrice {
    /// Time for which the stream is busy with it.
    pub time: Seconds,
    /// Expected relative error of the time, one sigma.
    pub relative_error: f64,
    /// Who answered.
    pub evidence: Evidence,
    /// Whether the shape lies outside of what was measured.
    pub is_outside: bool,
    /// Share of the time that memory traffic sets, 0 to 1: what slows when bandwidth is taken away.
    pub memory_share: f64,
}

/// Prices of kernels on one GPU under one software stack.
pub struct KernelBook {
    /// Asked before the roofline.
    models: Vec<Box<dyn KernelModel>>,
    /// Answers whatever the models leave open.
    roofline: Roofline,
    compute_factor: f64,
    /// Time of the stack's attention over the bare kernel, forward and backward.
    attention_factors: [f64; 2],
}

impl KernelBook {
    /// A book with the roofline; `fit` scales all times by its `compute_factor`, but those measured
    /// on the machine itself.
    pub fn new(gpu: &Gpu, stack: &Stack, fit: &Fit) -> Self {
        Self {
            models: Vec::new(),
            roofline: Roofline::new(gpu, stack),
            compute_factor: fit.compute_factor,
            attention_factors: [stack.attention_forward_factor, stack.attention_backward_factor],
        }
    }

    /// What the stack makes of a kernel's time: 1 but for attention.
    fn stack_factor(&self, kernel: &Kernel) -> f64 {
        match kernel {
            Kernel::Attention { pass: Pass::Forward, .. } => self.attention_factors[0],
            Kernel::Attention { pass: Pass::Backward, .. } => self.attention_factors[1],
            _ => 1.0,
        }
    }

    /// Adds a model; of answers with equal evidence, that of the model added first counts.
    #[must_use]
    pub fn with_model(mut self, model: Box<dyn KernelModel>) -> Self {
        self.models.push(model);
        self
    }

    /// Price of a kernel: the answer with the strongest evidence. Total: the roofline answers what
    /// no other model does.
    pub fn price(&self, kernel: &Kernel) -> KernelPrice {
        // The roofline is asked in any case: measurements give times, not what bounds them.
        let estimate = self.roofline.estimate(kernel);
        let answers = self.models.iter().filter_map(|model| model.predict(kernel));
        let closed_form = Prediction {
            time: estimate.time,
            relative_error: estimate.relative_error,
            evidence: Evidence::Roofline,
            is_outside: false,
        };
        let best = answers.chain([closed_form]).min_by_key(|answer| answer.evidence);
        let Prediction { time, relative_error, evidence, is_outside } = best.unwrap_or(closed_form);
        let time = time * self.stack_factor(kernel);
        let is_own = evidence == Evidence::MeasuredTable;
        KernelPrice {
            time: if is_own { time } else { time * self.compute_factor },
            relative_error,
            evidence,
            is_outside,
            memory_share: estimate.memory_share,
        }
    }
}

impl std::fmt::Debug for KernelBook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.models.iter().map(|model| model.name()).collect();
        formatter
            .debug_struct("KernelBook")
            .field("models", &names)
            .field("roofline", &self.roofline)
            .field("compute_factor", &self.compute_factor)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::fixture;
    use super::*;
    use crate::units::Bytes;
    use crate::work::MemoryKernel;

    /// Knows copies only.
    struct Copies {
        evidence: Evidence,
        us: f64,
    }

    fn copies(evidence: Evidence, us: f64) -> Box<dyn KernelModel> {
        Box::new(Copies { evidence, us })
    }

    impl KernelModel for Copies {
        fn name(&self) -> &'static str {
            "copies"
        }

        fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
            let known = matches!(kernel, Kernel::Memory { kind: MemoryKernel::Copy, .. });
            known.then(|| Prediction {
                time: Seconds::from_us(self.us),
                relative_error: 0.01,
                evidence: self.evidence,
                is_outside: false,
            })
        }
    }

    fn pass(kind: MemoryKernel) -> Kernel {
        Kernel::Memory { kind, read: Bytes::new(1e9), write: Bytes::ZERO }
    }

    fn book(compute_factor: f64) -> KernelBook {
        let fit = Fit { compute_factor, ..Fit::default() };
        KernelBook::new(&fixture::a100(), &fixture::stack(), &fit)
    }

    #[test]
    fn the_strongest_evidence_answers_whatever_the_order_of_adding() {
        let book = book(1.0)
            .with_model(copies(Evidence::Fit, 7.0))
            .with_model(copies(Evidence::MeasuredTable, 5.0));
        let price = book.price(&pass(MemoryKernel::Copy));
        assert_eq!(price.evidence, Evidence::MeasuredTable);
        assert_eq!(price.time, Seconds::from_us(5.0));
        assert_eq!(price.relative_error, 0.01);
        // Of two of one kind, the first added is asked first.
        let book = book.with_model(copies(Evidence::MeasuredTable, 6.0));
        assert_eq!(book.price(&pass(MemoryKernel::Copy)).time, Seconds::from_us(5.0));
    }

    #[test]
    fn the_roofline_answers_what_no_model_knows() {
        let book = book(1.0).with_model(copies(Evidence::Fit, 7.0));
        let price = book.price(&pass(MemoryKernel::Norm));
        assert_eq!(price.evidence, Evidence::Roofline);
        assert!(price.memory_share > 0.99, "{price:?}");
    }

    #[test]
    fn the_factor_of_the_machine_scales_every_answer() {
        for kind in [MemoryKernel::Copy, MemoryKernel::Norm] {
            let model = || copies(Evidence::Fit, 7.0);
            let one = book(1.0).with_model(model()).price(&pass(kind));
            let slow = book(1.25).with_model(model()).price(&pass(kind));
            assert!((slow.time / one.time - 1.25).abs() < 1e-12);
        }
    }
}
