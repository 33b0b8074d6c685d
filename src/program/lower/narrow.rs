//! Operands of narrow products: how 16-bit values become fp8 or fp4, and what that reads and
//! writes.

use super::Lowering;
use crate::program::block::BlockBuilder;
use crate::program::{Action, MemoryEffect};
use crate::spec::{Fp8Scaling, Scenario};
use crate::units::Bytes;
use crate::work::{DType, Kernel, MemoryKernel, Pass};

/// The format of a product's operands, and how they are brought into it.
#[derive(Clone, Copy)]
pub(super) struct Narrow {
    dtype: DType,
    /// Reads of the 16-bit tensor.
    reads: f64,
    /// Copies that are written: the rows, and their transpose.
    copies: f64,
    /// Whether the transpose is of use only whole, so that what is gathered is transposed after.
    transposes: bool,
}

impl Narrow {
    /// As Transformer Engine does it. Hopper multiplies fp8 in one layout, so it needs the
    /// transpose beside the rows; Blackwell multiplies tensor-scaled fp8 in any
    /// (`is_non_tn_fp8_gemm_supported`), while scales of blocks lie along one direction and the
    /// other is quantised too. Scales of the tensor at hand, as fp4 has them too, take a read
    /// before.
    pub(super) fn new(scenario: &Scenario, dtype: DType) -> Self {
        let any_layout = scenario.cluster.gpu.architecture.starts_with("blackwell");
        let current = scenario.stack.fp8_scaling == Fp8Scaling::Current;
        let (reads, copies) = match dtype {
            DType::Fp8 if any_layout => (if current { 2.0 } else { 1.0 }, 1.0),
            DType::Fp8 => (if current { 2.0 } else { 1.0 }, 2.0),
            DType::Fp8Rowwise if current => (2.0, 2.0),
            DType::Nvfp4 => (2.0, 2.0),
            _ => (1.0, 2.0),
        };
        Self { dtype, reads, copies, transposes: dtype == DType::Fp8 && !any_layout }
    }

    /// The pass that brings so many values of `width` bytes into the format.
    pub(super) fn kernel(self, values: f64, width: f64) -> Kernel {
        Kernel::Memory {
            kind: MemoryKernel::Quantise,
            read: Bytes::new(values * self.reads * width),
            write: Bytes::new(values * self.copies * self.dtype.bytes()),
        }
    }
}

impl Lowering<'_> {
    /// Quantises `values` before a product, when its format asks for it; `parts` ranks each do
    /// their part of them, gather the rows and transpose what they gathered.
    pub(super) fn quantise(
        &mut self,
        builder: &mut BlockBuilder,
        pass: Pass,
        dtype: DType,
        values: f64,
        parts: f64,
    ) {
        if !dtype.is_quantised() {
            return;
        }
        let mut narrow = Narrow::new(self.scenario, dtype);
        let after = narrow.transposes && parts > 1.0;
        if after {
            narrow.copies = 1.0;
        }
        let kernel = narrow.kernel(values / parts, self.width());
        let work = self.works.kernel("quantise", pass, kernel);
        builder.compute(Action::Work(work), MemoryEffect::default());
        if after {
            let bytes = Bytes::new(values * dtype.bytes());
            let kernel = Kernel::Memory { kind: MemoryKernel::Copy, read: bytes, write: bytes };
            let work = self.works.kernel("transpose", pass, kernel);
            builder.compute(Action::Work(work), MemoryEffect::default());
        }
    }

    /// Bytes that so many operands of a product take on the wire: they travel quantised, but for
    /// those that the stack quantises after.
    pub(super) fn operand_bytes(&self, values: f64, dtype: DType) -> Bytes {
        let is_narrow = dtype.is_quantised() && !self.gathers_wide(dtype);
        let width = if is_narrow { dtype.bytes() } else { self.width() };
        Bytes::new(values * width)
    }

    /// Whether operands travel in 16 bits and are quantised after.
    pub(super) fn gathers_wide(&self, dtype: DType) -> bool {
        self.scenario.stack.rowwise_after_gather && dtype == DType::Fp8Rowwise
    }
}
