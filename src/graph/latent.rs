//! Multi-head latent attention: queries, keys and values come out of narrow latents.

use super::attention::CoreShape;
use super::{Builder, Operation, Parallel, Saved, Traffic};
use crate::spec::LatentAttention;
use crate::work::{AttentionFamily, MemoryKernel};

impl Builder<'_> {
    /// The operations from the normed residual stream to the output projection, as Megatron-core's
    /// `MLASelfAttention` runs them: the narrowing matrices are whole on each rank and take its
    /// part of the sequence, the widening ones are cut by heads.
    pub(super) fn latent_attention(&self, latent: &LatentAttention) -> Vec<Operation> {
        let model = self.model;
        let (hidden, heads, rank) = (model.hidden_size, model.head_count, latent.key_value_rank);
        let queries = heads * latent.key_dim();
        let mut operations = Vec::new();
        if let Some(narrow) = latent.query_rank {
            let down = self.linear("query down", hidden, narrow, Parallel::Whole, false);
            operations.push(down);
            operations.push(self.norm_of("query norm", narrow));
            operations.push(self.linear("query up", narrow, queries, Parallel::Column, false));
        } else {
            operations.push(self.linear("query", hidden, queries, Parallel::Column, false));
        }
        let narrow = rank + latent.rotary_dim;
        let mut down = self.linear("key value down", hidden, narrow, Parallel::Whole, false);
        // Its input is that of the queries' matrix, which is kept already.
        down.saved = Saved::default();
        operations.push(down);
        operations.push(self.norm_of("key value norm", rank));
        let widened = heads * (latent.plain_dim + latent.value_dim);
        operations.push(self.linear("key value up", rank, widened, Parallel::Column, false));
        operations.push(self.latent_rotary(latent));
        operations.extend(self.latent_core(latent));
        let values = heads * latent.value_dim;
        let out = self.linear("output projection", values, hidden, Parallel::Row, false);
        operations.push(out);
        operations
    }

    /// Rotates the rotary part of queries in place, and puts keys together of their own part and
    /// the rotary part that all heads share (Megatron-core's `fused_apply_mla_rope_for_q` and
    /// `_for_kv`); unfused also splits and concatenates queries.
    fn latent_rotary(&self, latent: &LatentAttention) -> Operation {
        let head = |width: u64| self.width() * (self.model.head_count * width) as f64;
        let rotated = head(latent.rotary_dim);
        let widened = head(latent.plain_dim + latent.value_dim);
        let keys_values = head(latent.key_dim() + latent.value_dim);
        let traffic = if self.stack.fused_latent_rotary || self.stack.compile {
            Traffic::chain(rotated + widened, rotated + keys_values, 2)
        } else {
            let queries = head(latent.key_dim());
            let (read, write) = (5.0 * rotated + queries, 4.0 * rotated + queries);
            Traffic::chain(read + 2.0 * widened, write + widened + keys_values, 14)
        };
        let (kind, saved) = (MemoryKernel::Rotary, Saved::default());
        self.tensor_pass("rotary", kind, traffic, traffic, saved, keys_values)
    }

    /// Scores are products over the width of keys, outputs over that of values: a head as wide as
    /// their mean has the same arithmetic and the same traffic. Kernels take as long as with heads
    /// nearer to the wider: on B200 128 heads of 192 and 128, 4,096 tokens, take 735 and 2,376 us
    /// where the model of equal heads says 635 and 2,135 of 160 (`SimuMax`@4dcaae5).
    fn latent_core(&self, latent: &LatentAttention) -> Vec<Operation> {
        let heads = self.model.head_count;
        let head_dim = (latent.key_dim() + latent.value_dim).div_ceil(2);
        let qkv_width = heads * (2 * latent.key_dim() + latent.value_dim);
        match self.stack.attention {
            AttentionFamily::Unfused => self.unfused_core(qkv_width, heads, head_dim),
            family => {
                let kernel_dim = (3 * latent.key_dim() + latent.value_dim).div_ceil(4);
                let shape =
                    CoreShape { heads, kv_heads: heads, head_dim, kernel_dim, window: None };
                let output = self.width() * (heads * latent.value_dim) as f64;
                vec![Operation { output, ..self.fused_core(family, qkv_width, shape) }]
            }
        }
    }
}
