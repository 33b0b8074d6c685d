//! The MLP: one or two widening matrices, an activation, a narrowing matrix.

use super::{Builder, Operation, OperationKind, Parallel, Region, Saved, Traffic};
use crate::spec::Activation;
use crate::work::MemoryKernel;

/// Names of the operations of an MLP: in, activation, out.
pub(super) const MLP: [&str; 3] = ["mlp in", "activation", "mlp out"];

impl Builder<'_> {
    /// The operations from the normed residual stream to the output of an MLP of some width.
    pub(super) fn mlp(&self, names: [&'static str; 3], ffn: u64) -> Vec<Operation> {
        let (hidden, bias) = (self.model.hidden_size, self.model.linear_bias);
        let widened = ffn * self.model.mlp_input_matrices();
        vec![
            self.linear(names[0], hidden, widened, Parallel::Column, bias),
            self.activation(names[1], ffn as f64, Region::Tensor),
            self.linear(names[2], ffn, hidden, Parallel::Row, bias),
        ]
    }

    /// The activation of so many values a token; keeps its input. Its output is kept as the input
    /// of the layer after it.
    pub(super) fn activation(&self, name: &'static str, ffn: f64, region: Region) -> Operation {
        let bytes = self.width() * ffn;
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
            name,
            kind: OperationKind::Pass { kind: MemoryKernel::Activation, region, forward, backward },
            saved: Saved::one(region, kept),
            output: bytes,
            region,
            attention_core: false,
            beside_exchange: false,
        }
    }
}
