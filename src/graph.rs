//! The model's step, unsharded: what must be computed for a token, in which order.
//!
//! Knows the model and which kernels the stack fuses, but no cluster and no plan. Widths are
//! those of the whole model; `plan::shard` cuts them.

mod attention;
mod embedding;
mod experts;
mod head;
mod latent;
mod layer;
mod mlp;
mod operation;
mod optimizer;

pub use embedding::EMBEDDING;
pub use operation::{Operation, OperationKind, Parallel, Region, Saved, ScoreProduct, Traffic};
pub use optimizer::{OptimizerTraffic, optimizer_traffic};

use crate::spec::{LayerKind, Model, Stack, Training};
use crate::units::Flops;

/// The operations of a step, by the three kinds of place they run in.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Before the first layer.
    pub embedding: Vec<Operation>,
    /// Transformer layers, one of each kind that the model has.
    pub layers: Vec<Layer>,
    /// After the last layer: norm, logits, loss.
    pub head: Vec<Operation>,
}

/// A transformer layer of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What tells it from others.
    pub kind: LayerKind,
    /// Layers of this kind in the model.
    pub count: u64,
    /// What it does.
    pub operations: Vec<Operation>,
}

impl Graph {
    /// Builds the step of a model as a stack runs it.
    pub fn build(model: &Model, stack: &Stack, training: &Training) -> Self {
        let builder = Builder { model, stack, training };
        Self {
            embedding: builder.embedding(),
            layers: model.layer_kinds().into_iter().map(|kind| builder.of_kind(kind)).collect(),
            head: builder.head(),
        }
    }

    /// The operations of a layer of a kind; none for a kind that the model lacks.
    pub fn layer(&self, kind: LayerKind) -> &[Operation] {
        self.layers.iter().find(|layer| layer.kind == kind).map_or(&[], |it| &it.operations)
    }

    /// Arithmetic of matrix products that training one sequence needs: forward, and backward at
    /// twice forward; attention scores count in full, skipped or not, as in Korthikanti et al.
    /// 2022, equation 7, and Chowdhery et al. 2022 (PaLM), appendix B.
    pub fn model_flops(&self, sequence_length: u64) -> Flops {
        self.forward_flops(sequence_length) * 3.0
    }

    fn forward_flops(&self, sequence_length: u64) -> Flops {
        let sum = |operations: &[Operation]| -> Flops {
            operations.iter().map(|operation| operation.forward_flops(sequence_length)).sum()
        };
        let layers: Flops =
            self.layers.iter().map(|layer| sum(&layer.operations) * layer.count as f64).sum();
        sum(&self.embedding) + layers + sum(&self.head)
    }
}

/// What building needs to know.
struct Builder<'a> {
    model: &'a Model,
    stack: &'a Stack,
    training: &'a Training,
}

impl Builder<'_> {
    fn of_kind(&self, kind: LayerKind) -> Layer {
        let layers = 0..self.model.layer_count;
        let count = layers.filter(|layer| self.model.layer_kind(*layer) == kind).count() as u64;
        Layer { kind, count, operations: self.layer(kind) }
    }

    /// Whether activations are dropped out.
    fn has_dropout(&self) -> bool {
        self.training.dropout.unwrap_or(self.stack.dropout)
    }

    /// Bytes of an activation value.
    fn width(&self) -> f64 {
        self.training.precision.activation().bytes()
    }

    /// Bytes of a linear layer's input as kept for backward: quantised when the layer is.
    fn linear_input_width(&self) -> f64 {
        self.width().min(self.training.precision.linear().bytes())
    }
}
