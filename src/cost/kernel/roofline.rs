//! Kernel times from facts of the GPU alone: rates, achieved fractions, tiles and waves.

use super::attention::AttentionForm;
use super::gemm::GemmForm;
use super::memory::MemoryForm;
use super::{Estimate, KernelModel, Prediction};
use crate::cost::book::Evidence;
use crate::spec::{Gpu, Stack};
use crate::work::Kernel;

/// The model that always answers.
#[derive(Clone, Debug)]
pub struct Roofline {
    gemm: GemmForm,
    attention: AttentionForm,
    memory: MemoryForm,
}

impl Roofline {
    /// The forms of a GPU; passes over memory reach the fractions that the stack says.
    pub fn new(gpu: &Gpu, stack: &Stack) -> Self {
        Self {
            gemm: GemmForm::new(gpu),
            attention: AttentionForm::new(gpu),
            memory: MemoryForm::new(gpu, stack),
        }
    }

    /// Time, error and what bounds a kernel.
    pub(in crate::cost) fn estimate(&self, kernel: &Kernel) -> Estimate {
        match *kernel {
            Kernel::Gemm { m, n, k, batch, dtype, output, layout, accumulate } => {
                let shape = super::gemm::Shape {
                    m: m as f64,
                    n: n as f64,
                    k: k as f64,
                    batch: batch as f64,
                };
                self.gemm.estimate(shape, dtype, output, layout, accumulate)
            }
            Kernel::Attention {
                family,
                pass,
                batch,
                query_length,
                key_length,
                heads,
                kv_heads,
                head_dim,
                causal,
                dtype,
            } => {
                let shape = super::attention::Shape {
                    query_heads: batch as f64 * heads as f64,
                    kv_heads: batch as f64 * kv_heads as f64,
                    query_length: query_length as f64,
                    key_length: key_length as f64,
                    head_dim: head_dim.max(1) as f64,
                    causal,
                };
                self.attention.estimate(shape, family, pass, dtype)
            }
            Kernel::Memory { kind, read, write } => self.memory.estimate(kind, read + write),
        }
    }
}

impl KernelModel for Roofline {
    fn name(&self) -> &'static str {
        "roofline"
    }

    fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
        let Estimate { time, relative_error, .. } = self.estimate(kernel);
        let evidence = Evidence::Roofline;
        Some(Prediction { time, relative_error, evidence, is_outside: false })
    }
}
