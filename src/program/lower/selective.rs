//! Selective recomputation by operator: forward keeps what attention and every other product put
//! out, backward computes the rest of the layer again (torchtitan's `selective_ac_option = "op"`).
//!
//! Products are counted as modules have them, query, key, value, output and each matrix of the MLP,
//! and the first of each two is kept.

use super::layer::linear_of;
use super::linear::Linear;
use super::memory::forward_effect;
use super::{BlockKey, Lowering};
use crate::graph::{Operation, OperationKind};
use crate::program::BlockId;
use crate::program::block::BlockBuilder;
use crate::spec::{LayerKind, Recompute};
use crate::units::Bytes;
use crate::work::Pass;

impl Lowering<'_> {
    /// The block of a layer of which backward repeats all but attention and every other product.
    pub(super) fn selective_layer_block(
        &mut self,
        key: BlockKey,
        pass: Pass,
        kind: LayerKind,
    ) -> BlockId {
        let graph = self.graph;
        let layer = graph.layer(kind);
        let mut builder = BlockBuilder::new();
        let repeated = self.repeated_columns(layer);
        if pass == Pass::Forward {
            let shard = self.layout.shard;
            for (index, operation) in layer.iter().enumerate() {
                let mut kept = self.output_kept(operation, repeated[index]);
                if index == 0 {
                    kept += self.layer_input();
                }
                let transient =
                    shard.bytes(operation.region, operation.output) + shard.saved(operation, false);
                let memory = forward_effect(kept, transient);
                self.operation_forward(&mut builder, operation, pass, memory);
            }
            return self.add_block(key, builder.finish("layer forward"));
        }
        self.repeat(&mut builder, layer, &repeated);
        self.backward(&mut builder, layer, Recompute::Full);
        self.add_block(key, builder.finish("layer backward"))
    }

    /// For each operation of a layer, output columns of its products that backward computes again.
    fn repeated_columns(&self, layer: &[Operation]) -> Vec<u64> {
        let mut products = 0_u64;
        let last = layer.iter().rposition(is_linear);
        let columns = |(index, operation): (usize, &Operation)| {
            if !is_linear(operation) {
                return 0;
            }
            let parts = self.matrices_of(linear_of(operation));
            let mut repeated = 0;
            for part in parts {
                products += 1;
                // Nothing of backward needs what the last product puts out.
                if products.is_multiple_of(2) && Some(index) != last {
                    repeated += part;
                }
            }
            repeated
        };
        layer.iter().enumerate().map(columns).collect()
    }

    /// Bytes on a rank of an operation's output that forward keeps.
    fn output_kept(&self, operation: &Operation, repeated: u64) -> Bytes {
        let shard = self.layout.shard;
        match operation.kind {
            OperationKind::Linear { output, .. } => {
                let kept = output.saturating_sub(repeated) as f64 / output.max(1) as f64;
                shard.bytes(operation.region, operation.output * kept)
            }
            OperationKind::Attention { .. } => shard.bytes(operation.region, operation.output),
            _ => Bytes::ZERO,
        }
    }

    /// What backward computes again, in forward order; takes what backward gives back.
    fn repeat(&mut self, builder: &mut BlockBuilder, layer: &[Operation], repeated: &[u64]) {
        let shard = self.layout.shard;
        let kept: Bytes = layer
            .iter()
            .zip(repeated)
            .map(|(operation, &repeated)| self.output_kept(operation, repeated))
            .sum();
        let saved: Bytes = layer.iter().map(|operation| shard.saved(operation, false)).sum();
        // Backward gives back all that a whole forward keeps, which is more than outputs alone.
        let mut first = forward_effect(saved - kept.min(saved), Bytes::ZERO);
        for (operation, &columns) in layer.iter().zip(repeated) {
            let memory = std::mem::take(&mut first);
            match operation.kind {
                OperationKind::Linear { .. } => {
                    if columns > 0 {
                        let part = Linear { output: columns, ..linear_of(operation) };
                        self.linear_forward(builder, part, Pass::Backward, memory);
                    }
                }
                OperationKind::Attention { .. } => {}
                _ => self.operation_forward(builder, operation, Pass::Backward, memory),
            }
        }
    }
}

fn is_linear(operation: &Operation) -> bool {
    matches!(operation.kind, OperationKind::Linear { .. })
}
