//! The head: final norm, logits, cross-entropy.

use super::{Builder, Operation, OperationKind, Parallel, Region, Saved, Traffic};
use crate::work::MemoryKernel;

impl Builder<'_> {
    /// The operations from the residual stream to the loss.
    pub(super) fn head(&self) -> Vec<Operation> {
        let model = self.model;
        let logits = Operation {
            name: "logits",
            kind: OperationKind::Linear {
                input: model.hidden_size,
                output: model.vocabulary_size,
                parallel: Parallel::Column,
                // The head stays in 16 bits under fp8 recipes (Transformer Engine, torchao).
                quantised: false,
                bias: false,
            },
            saved: Saved { sequence: self.width() * model.hidden_size as f64, ..Saved::default() },
            output: self.width() * model.vocabulary_size as f64,
            region: Region::Tensor,
            attention_core: false,
            beside_exchange: false,
        };
        let reduce = Operation {
            name: "loss reduce",
            kind: OperationKind::LossReduce { bytes: 4.0, count: 3 },
            saved: Saved::default(),
            output: 0.0,
            region: Region::Sequence,
            attention_core: false,
            beside_exchange: false,
        };
        let mut operations = vec![self.norm("final norm"), logits, reduce, self.cross_entropy()];
        if self.stack.loss_metric_count > 0 {
            operations.push(self.loss_metrics());
        }
        operations
    }

    /// Metrics of the logits in forward: each casts them to fp32 and takes their log-softmax.
    fn loss_metrics(&self) -> Operation {
        let vocabulary = self.model.vocabulary_size as f64;
        let count = self.stack.loss_metric_count;
        let (width, full) = (self.width() * vocabulary, 4.0 * vocabulary);
        let times = count as f64;
        let launches = 2 * count.min(1 << 16) as u32;
        Operation {
            name: "loss metrics",
            kind: OperationKind::Pass {
                kind: MemoryKernel::Cast,
                region: Region::Tensor,
                forward: Traffic::chain(times * (width + full), times * 2.0 * full, launches),
                backward: Traffic::NONE,
            },
            saved: Saved::default(),
            // They run when backward is over and its activations are free, so that the copies add
            // nothing to the peak.
            output: 0.0,
            region: Region::Tensor,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// Cross-entropy over the vocabulary.
    ///
    /// Fused: one pass over the 16-bit logits that leaves their gradient in place. Unfused: a cast
    /// to fp32, maximum, subtraction, exponential and sum, division in forward, and product and
    /// cast in backward, each over fp32 logits in memory (Megatron's vocabulary-parallel
    /// cross-entropy). What it keeps is in [`Self::kept_logits`].
    fn cross_entropy(&self) -> Operation {
        let vocabulary = self.model.vocabulary_size as f64;
        let width = self.width();
        let full = 4.0;
        let (forward, backward) = if self.stack.fused_cross_entropy {
            (Traffic::chain(2.0 * width, width, 2), Traffic::one(width, width))
        } else if self.stack.compile {
            (Traffic::chain(width + full, full, 2), Traffic::one(full + width, width))
        } else if self.stack.fp32_logits {
            (
                Traffic::chain(width + 4.0 * full, 4.0 * full, 5),
                Traffic::chain(2.0 * full, full + width, 2),
            )
        } else {
            (
                Traffic::chain(4.0 * width, 3.0 * width, 4),
                Traffic::chain(2.0 * width, 2.0 * width, 2),
            )
        };
        let scaled = |traffic: Traffic| {
            Traffic::chain(traffic.read * vocabulary, traffic.write * vocabulary, traffic.launches)
        };
        Operation {
            name: "cross-entropy",
            kind: OperationKind::Pass {
                kind: MemoryKernel::CrossEntropy,
                region: Region::Tensor,
                forward: scaled(forward),
                backward: scaled(backward),
            },
            saved: self.kept_logits(vocabulary),
            output: 0.0,
            region: Region::Tensor,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// What the loss keeps of the logits, and needs beside it.
    ///
    /// - Transformer Engine's kernel turns the 16-bit logits into their gradient in forward;
    ///   FlashAttention's and a compiled one keep the logits and write the gradient beside them.
    /// - Megatron-LM keeps the fp32 exponentials and turns them into the gradient, which is cast to
    ///   16 bits. In forward the 16-bit logits (fused) or the fp32 ones before the maximum is
    ///   subtracted (unfused) are still there.
    /// - PyTorch's keeps the fp32 logarithms; its backward holds two more fp32 tensors (of the
    ///   chosen logits, and of all).
    fn kept_logits(&self, vocabulary: f64) -> Saved {
        let (width, full) = (self.width(), 4.0);
        let stack = self.stack;
        let in_place = stack.in_place_cross_entropy;
        let (kept, forward, backward) = match (stack.fused_cross_entropy, stack.fp32_logits) {
            (true, false) => (width, 0.0, if in_place { -width } else { 0.0 }),
            (true, true) => (full, width, 0.0),
            // Where the logits are cast to fp32 compiling saves little: torchtitan's 8B takes 62
            // GiB where eager mode takes 67, 2.4 of 14 bytes a logit (pytorch/torchtitan@b5bcd76).
            (false, false) if stack.compile => (width, 0.0, 0.0),
            (false, true) if in_place => (full, full, 0.0),
            (false, true) => (full, full, 2.0 * full - width),
            (false, false) => (2.0 * width, 0.0, 0.0),
        };
        Saved {
            tensor: kept * vocabulary,
            forward_scratch: forward * vocabulary,
            backward_scratch: backward * vocabulary,
            ..Saved::default()
        }
    }
}
