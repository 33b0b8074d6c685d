//! Experts: grouped products, and the exchanges of tokens around them.

use super::Lowering;
use super::narrow::Narrow;
use crate::graph::{Operation, OperationKind};
use crate::plan::GroupKind;
use crate::program::block::BlockBuilder;
use crate::program::{Action, EventId, MemoryEffect, Stream, WorkId, WorkKind};
use crate::units::Bytes;
use crate::work::{CollectiveKind, ExchangePhase, Kernel, MemoryKernel, Pass, TokenExchange};

impl Lowering<'_> {
    /// The forward product of a rank's experts.
    pub(super) fn grouped_forward(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        pass: Pass,
        memory: MemoryEffect,
    ) {
        let shard = self.layout.shard;
        let Some(shape) = shard.grouped(operation) else { return };
        let values = (shape.rows * shape.groups * shape.input) as f64;
        self.quantise_rows(builder, pass, values, shape.groups);
        let work = self.grouped(operation.name, pass, shard.grouped_forward(shape), shape.groups);
        builder.compute(Action::Work(work), memory);
    }

    /// The products for the gradients of rows and weights.
    pub(super) fn grouped_backward(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        memory: MemoryEffect,
    ) {
        let (pass, shard) = (Pass::Backward, self.layout.shard);
        let Some(shape) = shard.grouped(operation) else { return };
        let rows = (shape.rows * shape.groups) as f64;
        self.quantise_rows(builder, pass, rows * shape.output as f64, shape.groups);
        let dgrad = self.grouped(operation.name, pass, shard.grouped_dgrad(shape), shape.groups);
        builder.compute(Action::Work(dgrad), MemoryEffect::default());
        let wgrad = self.grouped(operation.name, pass, shard.grouped_wgrad(shape), shape.groups);
        let weights = (shape.groups * shape.input * shape.output) as f64;
        let memory = self.with_weight_gradient(memory, weights, true);
        builder.compute(Action::Work(wgrad), memory);
        let mut extra = |label, kind, read: f64, write: f64| {
            let kernel = Kernel::Memory { kind, read: Bytes::new(read), write: Bytes::new(write) };
            let work = self.works.kernel(label, pass, kernel);
            builder.compute(Action::Work(work), MemoryEffect::default());
        };
        if !shard.fused_accumulation {
            let bytes = weights * shard.gradient.bytes();
            extra("gradient accumulation", MemoryKernel::Copy, 2.0 * bytes, bytes);
        }
        if matches!(operation.kind, OperationKind::Grouped { bias: true, .. }) {
            let bytes = rows * shape.output as f64 * shard.activation.bytes();
            extra("bias gradient", MemoryKernel::Pointwise, bytes, 0.0);
        }
    }

    /// Calls that launch something for each of so many experts.
    fn calls(&self, experts: u64) -> u32 {
        if self.scenario.stack.fused_grouped_gemm { 1 } else { experts.min(1 << 20) as u32 }
    }

    fn grouped(&mut self, label: &'static str, pass: Pass, kernel: Kernel, experts: u64) -> WorkId {
        let calls = self.calls(experts);
        self.works.intern_calls(label, pass, WorkKind::Kernel(kernel), calls)
    }

    /// Quantises the rows of each expert, whose scales are its own.
    fn quantise_rows(&mut self, builder: &mut BlockBuilder, pass: Pass, values: f64, experts: u64) {
        let dtype = self.layout.shard.expert_dtype();
        if !dtype.is_quantised() {
            return;
        }
        let kernel = Narrow::new(self.scenario, dtype).kernel(values, self.width());
        let work = self.grouped("quantise", pass, kernel, experts);
        builder.compute(Action::Work(work), MemoryEffect::default());
    }

    /// Tokens to the ranks of their experts, then to all ranks that an expert is cut over; or sums
    /// of the latter, then results back.
    pub(super) fn exchange(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        pass: Pass,
        phase: ExchangePhase,
        (memory, beside): (MemoryEffect, bool),
    ) -> EventId {
        let exchange = self.layout.shard.token_exchange(operation);
        let exchange = exchange.map(|exchange| TokenExchange { phase, ..exchange });
        let gathered = self.layout.shard.expert_gather(operation);
        builder.hold(memory);
        if let (true, Some(exchange), None) = (beside, exchange, gathered) {
            let work = self.exchange_work(pass, exchange, 1.0);
            return builder.fork(work, Stream::Expert, EventId::NONE);
        }
        match phase {
            ExchangePhase::Dispatch => {
                self.send_tokens(builder, pass, exchange);
                self.share_rows(builder, pass, CollectiveKind::AllGather, gathered);
            }
            ExchangePhase::Combine => {
                self.share_rows(builder, pass, CollectiveKind::ReduceScatter, gathered);
                self.send_tokens(builder, pass, exchange);
            }
        }
        EventId::NONE
    }

    /// Whether the exchange at a place of a layer runs beside the operations after it.
    pub(super) fn runs_beside(&self, operations: &[Operation], index: usize) -> bool {
        self.scenario.stack.overlap_shared_experts
            && matches!(operations[index].kind, OperationKind::Exchange { .. })
            && operations.get(index + 1).is_some_and(|next| next.beside_exchange)
    }

    /// The places of a layer's operations in the order of backward: an exchange comes before what
    /// runs beside it.
    pub(super) fn backward_order(&self, operations: &[Operation]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..operations.len()).rev().collect();
        if let Some(index) = (0..operations.len()).find(|&at| self.runs_beside(operations, at)) {
            let beside = operations[index + 1..].iter().take_while(|it| it.beside_exchange).count();
            let place = operations.len() - 1 - index;
            order[place - beside..=place].rotate_right(1);
        }
        order
    }

    fn share_rows(
        &mut self,
        builder: &mut BlockBuilder,
        pass: Pass,
        kind: CollectiveKind,
        bytes: Option<Bytes>,
    ) {
        let Some(bytes) = bytes else { return };
        let label = match kind {
            CollectiveKind::AllGather => "etp all-gather",
            _ => "etp reduce-scatter",
        };
        let work = self.collective(label, pass, GroupKind::ExpertTensor, kind, bytes);
        builder.serial(work, Stream::Expert);
    }

    /// The share of a layer's exchanges that the stack hides behind compute: that of another
    /// micro-batch, so it may begin with the layer (Megatron-core,
    /// `--overlap-moe-expert-parallel-comm`).
    pub(super) fn hidden_exchanges(
        &mut self,
        builder: &mut BlockBuilder,
        operations: &[Operation],
        pass: Pass,
    ) {
        let hidden = self.scenario.stack.overlap_exchange_fraction.clamp(0.0, 1.0);
        if hidden == 0.0 {
            return;
        }
        for operation in operations {
            if let Some(exchange) = self.layout.shard.token_exchange(operation) {
                let work = self.exchange_work(pass, exchange, hidden);
                builder.background(work, Stream::ExpertBeside);
            }
        }
    }

    /// The share of an exchange that compute waits for.
    fn send_tokens(
        &mut self,
        builder: &mut BlockBuilder,
        pass: Pass,
        exchange: Option<TokenExchange>,
    ) {
        let Some(exchange) = exchange else { return };
        let hidden = self.scenario.stack.overlap_exchange_fraction.clamp(0.0, 1.0);
        if hidden < 1.0 {
            let work = self.exchange_work(pass, exchange, 1.0 - hidden);
            builder.serial(work, Stream::Expert);
        }
    }

    fn exchange_work(&mut self, pass: Pass, exchange: TokenExchange, share: f64) -> WorkId {
        let label = match exchange.phase {
            ExchangePhase::Dispatch => "dispatch",
            ExchangePhase::Combine => "combine",
        };
        let kind = WorkKind::Exchange { group: GroupKind::Expert, exchange, share };
        self.works.intern(label, pass, kind)
    }
}
