//! What instructions and roles do to memory.

use super::{ChunkContents, Lowering};
use crate::graph::{OperationKind, Region};
use crate::plan::StageState;
use crate::program::{MemoryEffect, StaticMemory};
use crate::spec::{LayerKind, WeightGradient};
use crate::units::Bytes;

/// Takes `kept` until backward and `transient` until the end of the instruction.
pub(super) fn forward_effect(kept: Bytes, transient: Bytes) -> MemoryEffect {
    MemoryEffect {
        activations_taken: kept + transient,
        activations_freed: transient,
        ..MemoryEffect::default()
    }
}

/// Takes `transient` until the end of the instruction, which also frees what forward `kept`.
pub(super) fn backward_effect(kept: Bytes, transient: Bytes) -> MemoryEffect {
    MemoryEffect {
        activations_taken: transient,
        activations_freed: kept + transient,
        ..MemoryEffect::default()
    }
}

impl Lowering<'_> {
    /// What a rank of a stage holds throughout.
    pub(super) fn static_memory(&self, stage: usize, state: &StageState) -> StaticMemory {
        let (size, stack) = (self.layout.mesh.size, &self.scenario.stack);
        // NCCL keeps buffers for each communicator that spans more than one rank.
        let communicators = [size.tp, size.cp, size.dp * size.cp, size.pp, size.pp]
            .iter()
            .filter(|&&ranks| ranks > 1)
            .count() as f64;
        StaticMemory {
            weights: state.weights,
            gradients: state.gradients,
            optimizer: state.optimizer,
            buffers: self.kept_weight_gradients(stage) + stack.workspace_memory,
            overhead: stack.context_memory + stack.communicator_memory * communicators,
        }
    }

    /// Whether the gradients of this plan go into units of fully sharded parameters, which count
    /// them (`sharded_unit`).
    fn is_fully_sharded(&self) -> bool {
        self.scenario.plan.zero >= 3 && self.layout.mesh.shard_group > 1
    }

    /// Input and output width of each weight of a layer on a rank, and how many there are.
    fn layer_weights(&self, kind: LayerKind) -> Vec<(u64, u64, u64)> {
        let shard = &self.layout.shard;
        let widths = self.graph.layer(kind).iter().filter_map(|operation| {
            if let Some(shape) = shard.grouped(operation) {
                return Some((shape.input, shape.output, shape.groups));
            }
            match operation.kind {
                OperationKind::Linear { input, output, parallel, .. } => {
                    let (input, output) = shard.linear_widths(input, output, parallel);
                    Some((input, output, 1))
                }
                _ => None,
            }
        });
        widths.collect()
    }

    /// What a stage keeps of a forward that it has sent on, until the gradient comes back.
    pub(super) fn kept_output(&self) -> Bytes {
        if !self.scenario.stack.keeps_sent_activations {
            return Bytes::ZERO;
        }
        let hidden = self.scenario.model.hidden_size as f64;
        self.layout.shard.bytes(Region::Sequence, hidden * self.width())
    }

    /// Where gradients of weights live before they are in the buffer.
    fn weight_gradient_mode(&self) -> WeightGradient {
        let shard = &self.layout.shard;
        match self.scenario.stack.weight_gradient {
            WeightGradient::UntilBackwardEnds if shard.gradient == shard.activation => {
                WeightGradient::Transient
            }
            mode => mode,
        }
    }

    /// Empty gradients that the stack keeps, one for each shape of a layer's weights.
    fn kept_weight_gradients(&self, stage: usize) -> Bytes {
        let kept = self.weight_gradient_mode() == WeightGradient::KeptByShape;
        if !kept || self.layout.layers_on(stage) == 0 || self.is_fully_sharded() {
            return Bytes::ZERO;
        }
        let mut kinds: Vec<LayerKind> = self.layout.kinds_on(stage).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let weights = kinds.into_iter().flat_map(|kind| self.layer_weights(kind));
        let mut shapes: Vec<(u64, u64)> =
            weights.map(|(input, output, _)| (input, output)).collect();
        shapes.sort_unstable();
        shapes.dedup();
        let parameters: u64 = shapes.iter().map(|(input, output)| input * output).sum();
        Bytes::new(parameters as f64 * self.width())
    }

    /// Adds the gradient of a weight to what its product does to memory.
    pub(super) fn with_weight_gradient(
        &self,
        mut effect: MemoryEffect,
        parameters: f64,
        in_layer: bool,
    ) -> MemoryEffect {
        let mode = self.weight_gradient_mode();
        if self.is_fully_sharded() || (mode == WeightGradient::KeptByShape && in_layer) {
            return effect;
        }
        let bytes = Bytes::new(parameters * self.width());
        effect.activations_taken += bytes;
        if mode != WeightGradient::UntilBackwardEnds {
            effect.activations_freed += bytes;
        }
        effect
    }

    /// Adds the gradient of the embedding's table, which is as large as the table; a tied one is
    /// added to that of the head where both are on one stage.
    pub(super) fn with_table_gradient(&self, mut effect: MemoryEffect) -> MemoryEffect {
        let bytes = self.table_gradient();
        effect.activations_taken += bytes;
        if !self.keeps_table_gradient() {
            effect.activations_freed += bytes;
        }
        effect
    }

    fn table_gradient(&self) -> Bytes {
        if self.is_fully_sharded() {
            return Bytes::ZERO;
        }
        let model = &self.scenario.model;
        let values = model.vocabulary_size as f64 * model.hidden_size as f64;
        Bytes::new(values / self.layout.shard.tp as f64 * self.width())
    }

    fn keeps_table_gradient(&self) -> bool {
        let tied_here = self.scenario.model.tied_embeddings && self.layout.stage_layers.len() == 1;
        self.weight_gradient_mode() == WeightGradient::UntilBackwardEnds && !tied_here
    }

    /// Gradients that the backward of a chunk leaves to be accumulated after its end.
    pub(super) fn gradients_left(&self, contents: ChunkContents) -> Bytes {
        let until_end = self.weight_gradient_mode() == WeightGradient::UntilBackwardEnds;
        if !until_end || self.is_fully_sharded() {
            return Bytes::ZERO;
        }
        let kinds = (0..contents.layers)
            .map(|layer| self.scenario.model.layer_kind(contents.first_layer + layer));
        let weights = kinds.flat_map(|kind| self.layer_weights(kind));
        let parameters: f64 =
            weights.map(|(input, output, count)| (input * output * count) as f64).sum();
        let mut bytes = Bytes::new(parameters * self.width());
        if contents.head {
            let model = &self.scenario.model;
            let output = model.vocabulary_size.div_ceil(self.layout.shard.tp);
            bytes += Bytes::new((model.hidden_size * output) as f64 * self.width());
        }
        if contents.embedding && self.keeps_table_gradient() {
            bytes += self.table_gradient();
        }
        bytes
    }
}
