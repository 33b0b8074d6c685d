//! The MLP: one or two widening matrices, an activation, a narrowing matrix.

use super::{Builder, Operation, OperationKind, Parallel, Region, Saved, Traffic};
use crate::spec::Activation;
use crate::work::MemoryKernel;

impl Builder<'_> {
    /// The operations from the normed residual stream to the MLP's output.
    pub(super) fn mlp(&self) -> Vec<Operation> {
        let model = self.model;
        let widened = model.ffn_size * model.mlp_input_matrices();
        vec![
            self.linear("mlp in", model.hidden_size, widened, Parallel::Column, model.linear_bias),
            self.activation(),
            self.linear(
                "mlp out",
                model.ffn_size,
                model.hidden_size,
                Parallel::Row,
                model.linear_bias,
            ),
        ]
    }

    /// The activation; keeps its input. Its output is kept as the input of the layer after it.
    fn activation(&self) -> Operation {
        let bytes = self.width() * self.model.ffn_size as f64;
        let fused = self.stack.fused_activation || self.stack.compile;
        let gated = self.model.activation == Activation::Swiglu;
        let (mut forward, mut backward, mut kept) = if gated {
            (Traffic::one(2.0 * bytes, bytes), Traffic::one(3.0 * bytes, 2.0 * bytes), 2.0 * bytes)
        } else {
            (Traffic::one(bytes, bytes), Traffic::one(2.0 * bytes, bytes), bytes)
        };
        if gated && !fused {
            // SiLU and product are kernels of their own; the SiLU output is kept for the product.
            forward = Traffic::chain(forward.read + bytes, forward.write + bytes, 2);
            backward = Traffic::chain(backward.read + 3.0 * bytes, backward.write + bytes, 3);
            kept += bytes;
        }
        if self.model.activation == Activation::SquaredRelu && !fused {
            forward = Traffic::chain(forward.read + bytes, forward.write + bytes, 2);
            backward = Traffic::chain(backward.read + 2.0 * bytes, backward.write + bytes, 2);
            kept += bytes;
        }
        if self.model.linear_bias && !fused {
            forward =
                Traffic::chain(forward.read + bytes, forward.write + bytes, forward.launches + 1);
        }
        Operation {
            name: "activation",
            kind: OperationKind::Pass {
                kind: MemoryKernel::Activation,
                region: Region::Tensor,
                forward,
                backward,
            },
            saved: Saved { tensor: kept, ..Saved::default() },
            output: bytes,
            region: Region::Tensor,
            attention_core: false,
        }
    }
}
