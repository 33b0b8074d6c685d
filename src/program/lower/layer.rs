//! Operations to launches: the blocks of layer, embedding and head, forward and backward.

use super::linear::Linear;
use super::memory::{backward_effect, forward_effect};
use super::{BlockKey, Lowering};
use crate::graph::{EMBEDDING, Operation, OperationKind, Parallel, Region};
use crate::plan::{CpExchange, GroupKind};
use crate::program::block::BlockBuilder;
use crate::program::{Action, BlockId, EventId, MemoryEffect, Stream};
use crate::spec::{LayerKind, Recompute, SelectiveRecompute};
use crate::units::Bytes;
use crate::work::{CollectiveKind, ExchangePhase, Kernel, MemoryKernel, Pass};

/// Bytes that the passes around a step of ring attention move, over those of the queries in 16
/// bits: forward copies a half (2), and reads and writes outputs and their fp32 sum (5).
const RING_FORWARD_PASSES: f64 = 7.0;
/// Backward copies halves of queries, outputs and their gradients (4), and sums gradients of
/// queries, keys and values in fp32 (7).
const RING_BACKWARD_PASSES: f64 = 11.0;

/// What forward keeps for backward.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Everything,
    /// All but the scores of the attention core.
    AllButScores,
    /// The input of the layer.
    Input,
}

impl Lowering<'_> {
    /// The block of a layer.
    pub(super) fn layer_block(&mut self, pass: Pass, recompute: bool, layer: LayerKind) -> BlockId {
        let key = BlockKey::Layer { pass, recompute, kind: layer };
        if let Some(&id) = self.known_blocks.get(&key) {
            return id;
        }
        let kind = if recompute { self.scenario.plan.recompute } else { Recompute::None };
        let kind = match self.scenario.stack.selective_recompute {
            SelectiveRecompute::Operators if kind == Recompute::Selective => {
                return self.selective_layer_block(key, pass, layer);
            }
            SelectiveRecompute::AlternateLayers if kind == Recompute::Selective => Recompute::Full,
            _ => kind,
        };
        let graph = self.graph;
        let mut builder = BlockBuilder::new();
        let label = match pass {
            Pass::Forward => {
                let keep = match kind {
                    Recompute::None => Keep::Everything,
                    Recompute::Selective => Keep::AllButScores,
                    Recompute::Full => Keep::Input,
                };
                self.forward(&mut builder, graph.layer(layer), Pass::Forward, keep);
                "layer forward"
            }
            Pass::Backward => {
                if kind == Recompute::Full {
                    let operations = graph.layer(layer);
                    let (needed, rest) = operations.split_at(self.recomputed(operations));
                    self.forward(&mut builder, needed, Pass::Backward, Keep::Everything);
                    self.keep_inputs(&mut builder, rest);
                }
                self.backward(&mut builder, graph.layer(layer), kind);
                "layer backward"
            }
        };
        self.add_block(key, builder.finish(label))
    }

    /// How many operations of a layer full recomputation repeats: what the last product puts out is
    /// only added to the residual stream, and backward needs neither.
    fn recomputed(&self, layer: &[Operation]) -> usize {
        let is_linear =
            |operation: &Operation| matches!(operation.kind, OperationKind::Linear { .. });
        match layer.iter().rposition(is_linear) {
            Some(last) if self.scenario.stack.recompute_stops_early => last,
            _ => layer.len(),
        }
    }

    /// Takes what operations that are not repeated would keep, their inputs, which are there.
    fn keep_inputs(&self, builder: &mut BlockBuilder, operations: &[Operation]) {
        let shard = self.layout.shard;
        let kept: Bytes = operations.iter().map(|operation| shard.saved(operation, false)).sum();
        builder.keep(kept);
    }

    /// The block of the embedding.
    pub(super) fn embedding_block(&mut self, pass: Pass) -> BlockId {
        let operations = &self.graph.embedding;
        self.edge_block(BlockKey::Embedding { pass }, pass, operations)
    }

    /// The block of the head.
    pub(super) fn head_block(&mut self, pass: Pass) -> BlockId {
        self.edge_block(BlockKey::Head { pass }, pass, &self.graph.head)
    }

    fn edge_block(&mut self, key: BlockKey, pass: Pass, operations: &[Operation]) -> BlockId {
        if let Some(&id) = self.known_blocks.get(&key) {
            return id;
        }
        let embedding = matches!(key, BlockKey::Embedding { .. });
        let mut builder = BlockBuilder::new();
        match pass {
            Pass::Forward => {
                self.forward(&mut builder, operations, Pass::Forward, Keep::Everything);
            }
            Pass::Backward => self.backward(&mut builder, operations, Recompute::None),
        }
        let label = match (embedding, pass) {
            (true, Pass::Forward) => "embedding forward",
            (true, Pass::Backward) => "embedding backward",
            (false, Pass::Forward) => "head forward",
            (false, Pass::Backward) => "head backward",
        };
        self.add_block(key, builder.finish(label))
    }

    fn forward(
        &mut self,
        builder: &mut BlockBuilder,
        operations: &[Operation],
        pass: Pass,
        keep: Keep,
    ) {
        let shard = self.layout.shard;
        let mut arriving = EventId::NONE;
        for (index, operation) in operations.iter().enumerate() {
            if index == 1 {
                self.hidden_exchanges(builder, operations, pass);
            }
            let kept = match keep {
                Keep::Everything => shard.saved(operation, false),
                Keep::AllButScores => shard.saved(operation, true),
                Keep::Input if index == 0 => self.layer_input(),
                Keep::Input => Bytes::ZERO,
            };
            let mut transient = shard.bytes(operation.region, operation.output)
                + self.gathered_beside(operation)
                + shard.bytes(Region::Tensor, operation.saved.forward_scratch);
            if keep != Keep::Everything {
                // What is not kept still lives while its operation runs.
                transient +=
                    shard.saved(operation, false) - kept.min(shard.saved(operation, false));
            }
            let memory = forward_effect(kept, transient);
            if let OperationKind::Exchange { phase, .. } = operation.kind
                && self.runs_beside(operations, index)
            {
                arriving = self.exchange(builder, operation, pass, phase, (memory, true));
                continue;
            }
            if !operation.beside_exchange {
                builder.join(std::mem::replace(&mut arriving, EventId::NONE));
            }
            self.operation_forward(builder, operation, pass, memory);
        }
    }

    /// Under sequence parallelism: the whole tensor that a linear layer gathers (the input of a
    /// column-parallel one, in backward the gradient of a row-parallel one's output) or scatters.
    fn gathered_beside(&self, operation: &Operation) -> Bytes {
        let shard = &self.layout.shard;
        let OperationKind::Linear { input, output, parallel, .. } = operation.kind else {
            return Bytes::ZERO;
        };
        if !shard.sequence_parallel {
            return Bytes::ZERO;
        }
        let columns = match parallel {
            Parallel::Column => input,
            Parallel::Row => output,
            Parallel::Whole => return Bytes::ZERO,
        };
        Bytes::new(shard.tokens() as f64 * columns as f64 * self.width())
    }

    /// Bytes of a layer's input on a rank.
    pub(super) fn layer_input(&self) -> Bytes {
        let hidden = self.scenario.model.hidden_size as f64;
        self.layout.shard.bytes(Region::Sequence, self.width() * hidden)
    }

    pub(super) fn operation_forward(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        pass: Pass,
        memory: MemoryEffect,
    ) {
        let shard = self.layout.shard;
        match operation.kind {
            OperationKind::Linear { .. } => {
                self.linear_forward(builder, linear_of(operation), pass, memory);
            }
            OperationKind::Grouped { .. } => {
                self.grouped_forward(builder, operation, pass, memory);
            }
            OperationKind::Exchange { phase, .. } => {
                self.exchange(builder, operation, pass, phase, (memory, false));
            }
            OperationKind::EmbeddingReduce { bytes } if shard.tp > 1 => {
                let bytes = Bytes::new(shard.tokens() as f64 * bytes);
                if shard.sequence_parallel {
                    let kind = CollectiveKind::ReduceScatter;
                    let label = "tp reduce-scatter";
                    let work = self.collective(label, pass, GroupKind::Tensor, kind, bytes);
                    builder.serial(work, Stream::Tensor);
                } else {
                    self.tensor_all_reduce(builder, pass, bytes);
                }
            }
            OperationKind::LossReduce { bytes, count } if shard.tp > 1 => {
                let bytes = Bytes::new(shard.tokens() as f64 * bytes);
                for _ in 0..count {
                    self.tensor_all_reduce(builder, pass, bytes);
                }
            }
            OperationKind::EmbeddingReduce { .. } | OperationKind::LossReduce { .. } => {}
            _ => self.core(builder, operation, pass, Pass::Forward, memory),
        }
    }

    /// Attention cores and passes over memory, with the context-parallel exchange around them.
    /// `pass` is where it runs, `direction` what it computes: recomputation runs forward kernels in
    /// the backward pass.
    fn core(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        pass: Pass,
        direction: Pass,
        memory: MemoryEffect,
    ) {
        let kernels = self.layout.shard.local_kernels(operation, direction);
        let exchange = self.layout.shard.cp_exchange(operation);
        let backward = direction == Pass::Backward;
        let context = |lowering: &mut Self, label, kind, bytes: Bytes| {
            lowering.collective(label, pass, GroupKind::Context, kind, bytes)
        };
        let mut arrivals = Vec::new();
        match exchange {
            Some(CpExchange::Ring { bytes, steps, .. }) => {
                // Backward also passes on the gradients of keys and values.
                let bytes = if backward { bytes * 2.0 } else { bytes };
                let work = context(self, "cp ring", CollectiveKind::SendReceive, bytes);
                arrivals = (1..steps)
                    .map(|_| builder.fork(work, Stream::Context, EventId::NONE))
                    .collect();
            }
            Some(CpExchange::AllGather { bytes }) => {
                let work = context(self, "cp all-gather", CollectiveKind::AllGather, bytes);
                builder.serial(work, Stream::Context);
            }
            Some(CpExchange::Ulysses { before, after }) => {
                let bytes = if backward { after } else { before };
                let work = context(self, "cp all-to-all", CollectiveKind::AllToAll, bytes);
                builder.serial(work, Stream::Context);
            }
            None => {}
        }
        let last = kernels.len().saturating_sub(1);
        for (index, kernel) in kernels.into_iter().enumerate() {
            if let Some(&arrival) = index.checked_sub(1).and_then(|step| arrivals.get(step)) {
                builder.join(arrival);
            }
            let work = self.works.kernel(operation.name, pass, kernel);
            let mut effect = MemoryEffect::default();
            if index == 0 {
                effect.activations_taken = memory.activations_taken;
            }
            if index == last {
                effect.activations_freed = memory.activations_freed;
            }
            builder.compute(Action::Work(work), effect);
        }
        match exchange {
            Some(CpExchange::Ring { steps, queries, .. }) => {
                self.ring_passes(builder, pass, direction, queries, steps);
            }
            Some(CpExchange::AllGather { bytes }) if backward => {
                let kind = CollectiveKind::ReduceScatter;
                let work = context(self, "cp reduce-scatter", kind, bytes);
                builder.serial(work, Stream::Context);
            }
            Some(CpExchange::Ulysses { before, after }) => {
                let bytes = if backward { before } else { after };
                let work = context(self, "cp all-to-all", CollectiveKind::AllToAll, bytes);
                builder.serial(work, Stream::Context);
            }
            _ => {}
        }
    }

    /// The passes around the steps of a ring: halves of the sequence are copied out, outputs of
    /// steps are rescaled and added in fp32, gradients of queries, keys and values are summed and
    /// put back in order (`AttnFuncWithCPAndKVP2P` of Transformer Engine: some five kernels a step
    /// forward, eight backward).
    fn ring_passes(
        &mut self,
        builder: &mut BlockBuilder,
        pass: Pass,
        direction: Pass,
        queries: Bytes,
        steps: u64,
    ) {
        let (launches, passes) = match direction {
            Pass::Forward => (5u32, RING_FORWARD_PASSES),
            Pass::Backward => (8, RING_BACKWARD_PASSES),
        };
        let bytes = queries * (passes / f64::from(launches));
        let kernel =
            Kernel::Memory { kind: MemoryKernel::Pointwise, read: bytes * 0.5, write: bytes * 0.5 };
        let work = self.works.kernel("cp correction", pass, kernel);
        for _ in 0..steps * u64::from(launches) {
            builder.compute(Action::Work(work), MemoryEffect::default());
        }
    }

    pub(super) fn backward(
        &mut self,
        builder: &mut BlockBuilder,
        operations: &[Operation],
        recompute: Recompute,
    ) {
        let shard = self.layout.shard;
        let is_layer = operations.iter().any(|operation| operation.attention_core);
        let mut core_is_there = recompute != Recompute::Selective;
        let mut arriving = EventId::NONE;
        for (place, index) in self.backward_order(operations).into_iter().enumerate() {
            if place == 1 {
                self.hidden_exchanges(builder, operations, Pass::Backward);
            }
            let operation = &operations[index];
            if operation.attention_core && !core_is_there {
                let core: Vec<Operation> =
                    operations.iter().filter(|other| other.attention_core).copied().collect();
                self.recompute_core(builder, &core);
                core_is_there = true;
            }
            let mut kept = shard.saved(operation, false);
            if recompute == Recompute::Full && index == 0 {
                kept += self.layer_input();
            }
            // The gradients of output and input; that of the residual stream waits for its branch.
            let input = index.checked_sub(1).map_or(operation, |before| &operations[before]);
            let waiting = if operation.region == Region::Tensor && index > 0 && is_layer {
                self.layer_input()
            } else {
                Bytes::ZERO
            };
            let transient = shard.bytes(operation.region, operation.output)
                + shard.bytes(input.region, input.output)
                + shard.bytes(Region::Tensor, operation.saved.backward_scratch)
                + self.gathered_beside(operation)
                + waiting;
            let mut memory = backward_effect(kept, transient);
            if operation.name == EMBEDDING {
                memory = self.with_table_gradient(memory);
            }
            if let OperationKind::Exchange { phase, .. } = operation.kind
                && self.runs_beside(operations, index)
            {
                let pass = Pass::Backward;
                arriving = self.exchange(builder, operation, pass, back(phase), (memory, true));
                continue;
            }
            if !operation.beside_exchange {
                builder.join(std::mem::replace(&mut arriving, EventId::NONE));
            }
            self.operation_backward(builder, operation, memory);
        }
    }

    /// The attention core once more, taking the scores that forward did not keep.
    fn recompute_core(&mut self, builder: &mut BlockBuilder, core: &[Operation]) {
        let shard = self.layout.shard;
        for operation in core {
            let scores = shard.saved(operation, false) - shard.saved(operation, true);
            let transient = shard.bytes(operation.region, operation.output);
            let memory = forward_effect(scores, transient);
            self.operation_forward(builder, operation, Pass::Backward, memory);
        }
    }

    fn operation_backward(
        &mut self,
        builder: &mut BlockBuilder,
        operation: &Operation,
        memory: MemoryEffect,
    ) {
        let shard = self.layout.shard;
        match operation.kind {
            OperationKind::Linear { .. } => {
                self.linear_backward(builder, linear_of(operation), memory);
            }
            OperationKind::Grouped { .. } => self.grouped_backward(builder, operation, memory),
            OperationKind::Exchange { phase, .. } => {
                let pass = Pass::Backward;
                self.exchange(builder, operation, pass, back(phase), (memory, false));
            }
            OperationKind::EmbeddingReduce { bytes } if shard.sequence_parallel => {
                let bytes = Bytes::new(shard.tokens() as f64 * bytes);
                let kind = CollectiveKind::AllGather;
                let label = "tp all-gather";
                let work = self.collective(label, Pass::Backward, GroupKind::Tensor, kind, bytes);
                builder.serial(work, Stream::Tensor);
            }
            OperationKind::EmbeddingReduce { .. } | OperationKind::LossReduce { .. } => {}
            _ => self.core(builder, operation, Pass::Backward, Pass::Backward, memory),
        }
    }
}

/// Gradients of what came go back, and those of what went back come.
const fn back(phase: ExchangePhase) -> ExchangePhase {
    match phase {
        ExchangePhase::Dispatch => ExchangePhase::Combine,
        ExchangePhase::Combine => ExchangePhase::Dispatch,
    }
}

pub(super) fn linear_of(operation: &Operation) -> Linear {
    let OperationKind::Linear { input, output, parallel, quantised, bias } = operation.kind else {
        unreachable!("called on linear layers only")
    };
    Linear { name: operation.name, input, output, parallel, quantised, bias }
}
