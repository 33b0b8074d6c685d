//! Linear layers and the tensor-parallel communication around them.

use super::Lowering;
use crate::graph::{Parallel, Region};
use crate::plan::GroupKind;
use crate::program::block::BlockBuilder;
use crate::program::{Action, EventId, MemoryEffect, Stream};
use crate::units::Bytes;
use crate::work::{CollectiveKind, DType, Kernel, MemoryKernel, Pass};

/// A linear layer as the graph describes it.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub(super) name: &'static str,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) parallel: Parallel,
    pub(super) quantised: bool,
    pub(super) bias: bool,
}

impl Lowering<'_> {
    fn linear_dtype(&self, linear: Linear) -> DType {
        let shard = &self.layout.shard;
        if linear.quantised { shard.linear } else { shard.activation }
    }

    /// How many times a rank quantises an operand that is gathered, and how many ranks share that:
    /// each its part of the one; or, where what is scaled by row travels in 16 bits, everyone all
    /// of it, for each matrix.
    fn quantised_parts(&self, linear: Linear, dtype: DType, region: Region) -> (f64, f64) {
        if self.gathers_wide(dtype) {
            (self.matrices_of(linear).len() as f64, 1.0)
        } else {
            (1.0, 1.0 / self.layout.shard.fraction(region))
        }
    }

    /// Output widths of the matrices that a module has of its own where the graph has one product:
    /// query, key and value; gate and up.
    pub(super) fn matrices_of(&self, linear: Linear) -> Vec<u64> {
        let model = &self.scenario.model;
        let key_value = model.kv_heads() * model.head_width();
        match (linear.name, linear.parallel) {
            ("qkv projection", _) => {
                vec![linear.output.saturating_sub(2 * key_value), key_value, key_value]
            }
            ("mlp in", _) => {
                let count = model.mlp_input_matrices();
                vec![linear.output / count; count as usize]
            }
            _ => vec![linear.output],
        }
    }

    /// A gather or scatter around a GEMM, of which the stack pipelines a share with it: the share
    /// runs beside the GEMM, the rest before (gather) or after (scatter). A product in as many
    /// parts as ranks begins with the part that is there, but its last part is scattered after it
    /// (ring exchange of Transformer Engine's userbuffers). They pipeline no fp4: recipes turn
    /// them off there.
    fn pipelined(
        &mut self,
        builder: &mut BlockBuilder,
        (label, pass): (&'static str, Pass),
        (kind, dtype): (CollectiveKind, DType),
        bytes: Bytes,
        (gemm, memory): (Action, MemoryEffect),
    ) {
        if kind == CollectiveKind::AllGather
            && self.scenario.stack.overlap_tp_own_part
            && let Some((own, rest)) = self.split_gemm(gemm)
        {
            let gathered = self.collective(label, pass, GroupKind::Tensor, kind, bytes);
            let end = builder.fork(gathered, Stream::Tensor, EventId::NONE);
            builder.compute(own, MemoryEffect::default());
            builder.join(end);
            builder.compute(rest, memory);
            return;
        }
        let is_fp4 = matches!(dtype, DType::Nvfp4);
        let share = self.scenario.stack.overlap_tp_fraction.clamp(0.0, 1.0);
        let share = match kind {
            _ if is_fp4 => 0.0,
            CollectiveKind::ReduceScatter => share * (1.0 - 1.0 / self.layout.shard.tp as f64),
            _ => share,
        };
        let part = |lowering: &mut Self, share: f64| {
            (share > 0.0)
                .then(|| lowering.collective(label, pass, GroupKind::Tensor, kind, bytes * share))
        };
        let (exposed, hidden) = (part(self, 1.0 - share), part(self, share));
        let gather = kind == CollectiveKind::AllGather;
        if let (true, Some(work)) = (gather, exposed) {
            builder.serial(work, Stream::Tensor);
        }
        let beside = hidden.map(|work| builder.fork(work, Stream::Tensor, EventId::NONE));
        builder.compute(gemm, memory);
        if let Some(end) = beside {
            builder.join(end);
        }
        if let (false, Some(work)) = (gather, exposed) {
            builder.serial(work, Stream::Tensor);
        }
    }

    /// A product of gathered rows as those that a rank has itself, and the others.
    fn split_gemm(&mut self, gemm: Action) -> Option<(Action, Action)> {
        let Action::Work(work) = gemm else { return None };
        let (name, pass, kernel) = self.works.kernel_of(work)?;
        let Kernel::Gemm { m, .. } = kernel else { return None };
        let own = m / self.layout.shard.tp;
        let mut part = |rows: u64| {
            let mut kernel = kernel;
            if let Kernel::Gemm { m, .. } = &mut kernel {
                *m = rows;
            }
            Action::Work(self.works.kernel(name, pass, kernel))
        };
        Some((part(own), part(m - own)))
    }

    /// Forward: a gather of the input under sequence parallelism, the product, a sum of the output
    /// (Korthikanti et al. 2022, figure 5; without sequence parallelism Shoeybi et al. 2019).
    pub(super) fn linear_forward(
        &mut self,
        builder: &mut BlockBuilder,
        linear: Linear,
        pass: Pass,
        memory: MemoryEffect,
    ) {
        let shard = self.layout.shard;
        let dtype = self.linear_dtype(linear);
        let widths = shard.linear_widths(linear.input, linear.output, linear.parallel);
        let (tokens, width) = (shard.tokens() as f64, self.width());
        let region =
            if linear.parallel == Parallel::Row { Region::Tensor } else { Region::Sequence };
        let whole = tokens * linear.input as f64;
        let (values, parts) = match linear.parallel {
            Parallel::Column => {
                let (times, parts) = self.quantised_parts(linear, dtype, region);
                (whole * times, parts)
            }
            Parallel::Row | Parallel::Whole => (whole * shard.fraction(region), 1.0),
        };
        self.quantise(builder, pass, dtype, values, parts);
        let kernel = shard.linear_forward(shard.linear_rows(linear.parallel), widths, dtype);
        let gemm = (Action::Work(self.works.kernel(linear.name, pass, kernel)), memory);
        let input_bytes = self.operand_bytes(whole, dtype);
        let output_bytes = Bytes::new(tokens * linear.output as f64 * width);
        match (linear.parallel, shard.tp > 1, shard.sequence_parallel) {
            (Parallel::Column, true, true) => {
                let label = ("tp all-gather", pass);
                let kind = (CollectiveKind::AllGather, dtype);
                self.pipelined(builder, label, kind, input_bytes, gemm);
            }
            (Parallel::Row, true, true) => {
                let label = ("tp reduce-scatter", pass);
                let kind = (CollectiveKind::ReduceScatter, dtype);
                self.pipelined(builder, label, kind, output_bytes, gemm);
            }
            (Parallel::Row, true, false) => {
                builder.compute(gemm.0, gemm.1);
                self.tensor_all_reduce(builder, pass, output_bytes);
            }
            _ => builder.compute(gemm.0, gemm.1),
        }
    }

    /// A sum over tensor-parallel ranks that compute waits for.
    pub(super) fn tensor_all_reduce(
        &mut self,
        builder: &mut BlockBuilder,
        pass: Pass,
        bytes: Bytes,
    ) {
        let kind = CollectiveKind::AllReduce;
        let work = self.collective("tp all-reduce", pass, GroupKind::Tensor, kind, bytes);
        builder.serial(work, Stream::Tensor);
    }

    /// Backward: dgrad, then wgrad; the gradient of a column-parallel input is summed, and under
    /// sequence parallelism its input gathered again, beside the products where the stack can
    /// (Megatron-LM's `LinearWithGradAccumulationAndAsyncCommunication`).
    pub(super) fn linear_backward(
        &mut self,
        builder: &mut BlockBuilder,
        linear: Linear,
        memory: MemoryEffect,
    ) {
        let pass = Pass::Backward;
        let shard = self.layout.shard;
        let dtype = self.linear_dtype(linear);
        let widths = shard.linear_widths(linear.input, linear.output, linear.parallel);
        let (tokens, width) = (shard.tokens() as f64, self.width());
        let beside = self.scenario.stack.overlap_tp_wgrad;
        let tensor = |lowering: &mut Self, label, kind, columns: u64| {
            let values = tokens * columns as f64;
            let bytes = match kind {
                CollectiveKind::AllGather => lowering.operand_bytes(values, dtype),
                _ => Bytes::new(values * width),
            };
            lowering.collective(label, pass, GroupKind::Tensor, kind, bytes)
        };
        let region =
            if linear.parallel == Parallel::Column { Region::Tensor } else { Region::Sequence };
        let whole = tokens * linear.output as f64;
        let (times, parts) = match linear.parallel {
            Parallel::Column | Parallel::Whole => (shard.fraction(region), 1.0),
            Parallel::Row => self.quantised_parts(linear, dtype, region),
        };
        self.quantise(builder, pass, dtype, whole * times, parts);
        let dgrad = shard.linear_dgrad(shard.linear_rows(linear.parallel), widths, dtype);
        let dgrad = Action::Work(self.works.kernel(linear.name, pass, dgrad));
        let (column, tp, sequence) =
            (linear.parallel == Parallel::Column, shard.tp > 1, shard.sequence_parallel);
        let regathers = column && sequence;
        let mut regathered = EventId::NONE;
        if regathers && beside {
            let work = tensor(self, "tp all-gather", CollectiveKind::AllGather, linear.input);
            regathered = builder.fork(work, Stream::Tensor, EventId::NONE);
        }
        if linear.parallel == Parallel::Row && sequence {
            let bytes = self.operand_bytes(whole, dtype);
            let label = ("tp all-gather", pass);
            let kind = (CollectiveKind::AllGather, dtype);
            self.pipelined(builder, label, kind, bytes, (dgrad, MemoryEffect::default()));
        } else {
            builder.compute(dgrad, MemoryEffect::default());
        }
        let mut summed = EventId::NONE;
        if column && tp {
            let (label, kind) = if sequence {
                ("tp reduce-scatter", CollectiveKind::ReduceScatter)
            } else {
                ("tp all-reduce", CollectiveKind::AllReduce)
            };
            let work = tensor(self, label, kind, linear.input);
            if beside {
                summed = builder.fork(work, Stream::Tensor, EventId::NONE);
            } else {
                builder.serial(work, Stream::Tensor);
                if regathers {
                    let kind = CollectiveKind::AllGather;
                    let work = tensor(self, "tp all-gather", kind, linear.input);
                    builder.serial(work, Stream::Tensor);
                }
            }
        }
        builder.join(regathered);
        self.weight_gradient(builder, linear, widths, dtype, memory);
        builder.join(summed);
    }

    /// The wgrad product, its accumulation where that is a kernel of its own, the bias gradient.
    fn weight_gradient(
        &mut self,
        builder: &mut BlockBuilder,
        linear: Linear,
        widths: (u64, u64),
        dtype: DType,
        memory: MemoryEffect,
    ) {
        let (pass, shard) = (Pass::Backward, self.layout.shard);
        let rows = shard.linear_rows(linear.parallel);
        let wgrad = shard.linear_wgrad(rows, widths, dtype);
        let work = self.works.kernel(linear.name, pass, wgrad);
        let in_layer = linear.quantised;
        let memory = self.with_weight_gradient(memory, (widths.0 * widths.1) as f64, in_layer);
        builder.compute(Action::Work(work), memory);
        let mut extra = |lowering: &mut Self, label, kind, read: f64, write: f64| {
            let kernel = Kernel::Memory { kind, read: Bytes::new(read), write: Bytes::new(write) };
            let work = lowering.works.kernel(label, pass, kernel);
            builder.compute(Action::Work(work), MemoryEffect::default());
        };
        if !shard.fused_accumulation {
            let bytes = (widths.0 * widths.1) as f64 * shard.gradient.bytes();
            extra(self, "gradient accumulation", MemoryKernel::Copy, 2.0 * bytes, bytes);
        }
        if linear.bias {
            let bytes = rows as f64 * widths.1 as f64 * self.width();
            extra(self, "bias gradient", MemoryKernel::Pointwise, bytes, 0.0);
        }
    }
}
