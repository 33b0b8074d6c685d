//! The embedding: look-up, positions, dropout.

use super::{Builder, Operation, OperationKind, Region, Saved, Traffic};
use crate::spec::Position;
use crate::work::MemoryKernel;

/// Name of the operation that looks up the table.
pub const EMBEDDING: &str = "embedding";

impl Builder<'_> {
    /// The operations from tokens to the residual stream.
    pub(super) fn embedding(&self) -> Vec<Operation> {
        let hidden = self.model.hidden_size as f64;
        let bytes = self.width() * hidden;
        let gradient = self.stack.gradient_dtype.bytes() * hidden;
        let pass = |name, kind, forward, backward, saved| Operation {
            name,
            kind: OperationKind::Pass { kind, region: Region::Sequence, forward, backward },
            saved: Saved { sequence: saved, ..Saved::default() },
            output: bytes,
            region: Region::Sequence,
            attention_core: false,
            beside_exchange: false,
        };
        // Backward scatters into the table's gradient: reads the gradient, reads and writes rows.
        let mut operations = vec![pass(
            EMBEDDING,
            MemoryKernel::Embedding,
            Traffic::one(bytes, bytes),
            Traffic::one(bytes + gradient, gradient),
            8.0,
        )];
        operations.push(Operation {
            name: "embedding reduce",
            kind: OperationKind::EmbeddingReduce { bytes },
            ..operations[0]
        });
        operations[1].saved = Saved::default();
        // The residual stream is sequence-major: a transposing copy after the look-up.
        let copy = Traffic::one(bytes, bytes);
        operations.push(pass("embedding transpose", MemoryKernel::Copy, copy, copy, 0.0));
        if self.model.position == Position::Learned {
            operations.push(pass(
                "position embedding",
                MemoryKernel::Embedding,
                Traffic::one(2.0 * bytes, bytes),
                Traffic::one(bytes, gradient),
                0.0,
            ));
        }
        if self.model.embedding_norm {
            operations.push(self.norm("embedding norm"));
        }
        if self.has_dropout() {
            operations.push(pass(
                "embedding dropout",
                MemoryKernel::Pointwise,
                Traffic::one(bytes, bytes + hidden),
                Traffic::one(bytes + hidden, bytes),
                hidden,
            ));
        }
        operations
    }
}
