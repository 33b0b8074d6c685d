//! A transformer layer: attention and MLP, each behind a norm and before a residual addition.

use super::mlp::MLP;
use super::{Builder, Operation, OperationKind, Region, Saved, Traffic};
use crate::spec::LayerKind;
use crate::work::MemoryKernel;

impl Builder<'_> {
    /// The operations of a layer in forward order.
    pub(super) fn layer(&self, kind: LayerKind) -> Vec<Operation> {
        let mut operations = vec![self.norm("attention norm")];
        operations.extend(self.attention(kind.window));
        operations.push(self.residual("attention residual"));
        operations.push(self.norm("mlp norm"));
        match self.model.experts.as_ref().filter(|_| kind.experts) {
            Some(experts) => operations.extend(self.experts(experts)),
            None => operations.extend(self.mlp(MLP, self.model.ffn_size)),
        }
        operations.push(self.residual("mlp residual"));
        operations
    }

    /// A norm over the residual stream; keeps its input.
    pub(super) fn norm(&self, name: &'static str) -> Operation {
        self.norm_of(name, self.model.hidden_size)
    }

    /// A norm of so many values a token.
    pub(super) fn norm_of(&self, name: &'static str, values: u64) -> Operation {
        let bytes = self.width() * values as f64;
        // Unfused, a norm is a chain in fp32: power, mean, rsqrt, products, casts.
        let (forward, backward) = if self.stack.fused_norm || self.stack.compile {
            (Traffic::one(bytes, bytes), Traffic::chain(2.0 * bytes, bytes, 2))
        } else {
            (
                Traffic::chain(7.0 * bytes, 5.0 * bytes, 6),
                Traffic::chain(10.0 * bytes, 7.0 * bytes, 9),
            )
        };
        Operation {
            name,
            kind: OperationKind::Pass {
                kind: MemoryKernel::Norm,
                region: Region::Sequence,
                forward,
                backward,
            },
            saved: Saved { sequence: bytes, ..Saved::default() },
            output: bytes,
            region: Region::Sequence,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// Residual addition with bias and dropout where there are any; keeps the dropout mask.
    ///
    /// Backward adds the gradients of the two branches, and undoes dropout.
    fn residual(&self, name: &'static str) -> Operation {
        let hidden = self.model.hidden_size as f64;
        let bytes = self.width() * hidden;
        let dropout = self.has_dropout();
        let mask = if dropout { hidden } else { 0.0 };
        let fused = self.stack.fused_residual || self.stack.compile;
        let mut forward = Traffic::one(2.0 * bytes, bytes + mask);
        let mut backward = Traffic::one(2.0 * bytes, bytes);
        if dropout {
            backward.read += bytes + mask;
            backward.write += bytes;
            backward.launches += 1;
            if !fused {
                forward = Traffic::chain(forward.read + bytes, forward.write + bytes, 2);
            }
        }
        if self.model.linear_bias && !fused {
            forward =
                Traffic::chain(forward.read + bytes, forward.write + bytes, forward.launches + 1);
        }
        Operation {
            name,
            kind: OperationKind::Pass {
                kind: MemoryKernel::Residual,
                region: Region::Sequence,
                forward,
                backward,
            },
            saved: Saved { sequence: mask, ..Saved::default() },
            output: bytes,
            region: Region::Sequence,
            attention_core: false,
            beside_exchange: false,
        }
    }
}
