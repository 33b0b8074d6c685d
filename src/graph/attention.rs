//! Attention: projections, rotary embedding and the core, fused or not.

use super::{Builder, Operation, OperationKind, Parallel, Region, Saved, ScoreProduct, Traffic};
use crate::spec::Position;
use crate::work::{AttentionFamily, MemoryKernel};

/// Heads of a fused core, over all ranks.
pub(super) struct CoreShape {
    pub(super) heads: u64,
    pub(super) kv_heads: u64,
    pub(super) head_dim: u64,
    /// Width as which kernels run.
    pub(super) kernel_dim: u64,
    pub(super) window: Option<u64>,
}

impl Builder<'_> {
    /// The operations from the normed residual stream to the output projection.
    pub(super) fn attention(&self, windowed: bool) -> Vec<Operation> {
        let model = self.model;
        if let Some(latent) = &model.latent_attention {
            return self.latent_attention(latent);
        }
        let window = model.sliding_window.as_ref().filter(|_| windowed).map(|it| it.tokens);
        let heads_width = model.head_count * model.head_width();
        let qkv_width = heads_width + 2 * model.kv_heads() * model.head_width();
        let mut operations = vec![self.linear(
            "qkv projection",
            model.hidden_size,
            qkv_width,
            Parallel::Column,
            model.linear_bias || model.qkv_bias,
        )];
        if model.qk_norm {
            operations.push(self.query_key_norm());
        }
        if model.position == Position::Rotary {
            operations.push(self.rotary());
        }
        if self.stack.attention_copies > 0 && self.stack.attention != AttentionFamily::Unfused {
            operations.push(self.attention_copies());
        }
        match self.stack.attention {
            AttentionFamily::Unfused => {
                let (heads, head_dim) = (model.head_count, model.head_width());
                operations.extend(self.unfused_core(qkv_width, heads, head_dim));
            }
            family => {
                let (heads, kv_heads) = (model.head_count, model.kv_heads());
                let head_dim = model.head_width();
                let shape = CoreShape { heads, kv_heads, head_dim, kernel_dim: head_dim, window };
                operations.push(self.fused_core(family, qkv_width, shape));
            }
        }
        operations.push(self.linear(
            "output projection",
            heads_width,
            model.hidden_size,
            Parallel::Row,
            model.linear_bias,
        ));
        operations
    }

    /// A linear layer; keeps its input.
    pub(super) fn linear(
        &self,
        name: &'static str,
        input: u64,
        output: u64,
        parallel: Parallel,
        bias: bool,
    ) -> Operation {
        let kept = self.linear_input_width() * input as f64;
        let (saved, region) = match parallel {
            Parallel::Column => (Saved { sequence: kept, ..Saved::default() }, Region::Tensor),
            Parallel::Row => (Saved { tensor: kept, ..Saved::default() }, Region::Sequence),
            Parallel::Whole => (Saved { sequence: kept, ..Saved::default() }, Region::Sequence),
        };
        Operation {
            name,
            kind: OperationKind::Linear { input, output, parallel, quantised: true, bias },
            saved,
            output: self.width() * output as f64,
            region,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// Bytes a token of queries and keys.
    fn query_key_bytes(&self) -> f64 {
        let heads = self.model.head_count + self.model.kv_heads();
        self.width() * (heads * self.model.head_width()) as f64
    }

    pub(super) fn tensor_pass(
        &self,
        name: &'static str,
        kind: MemoryKernel,
        forward: Traffic,
        backward: Traffic,
        saved: Saved,
        output: f64,
    ) -> Operation {
        Operation {
            name,
            kind: OperationKind::Pass { kind, region: Region::Tensor, forward, backward },
            saved,
            output,
            region: Region::Tensor,
            attention_core: false,
            beside_exchange: false,
        }
    }

    fn query_key_norm(&self) -> Operation {
        let bytes = self.query_key_bytes();
        self.tensor_pass(
            "query key norm",
            MemoryKernel::Norm,
            Traffic::chain(bytes, bytes, 2),
            Traffic::chain(2.0 * bytes, bytes, 4),
            Saved { tensor: bytes, ..Saved::default() },
            bytes,
        )
    }

    /// Unfused rotary is a chain: two products, a rotation by halves, an addition, for q and k.
    fn rotary(&self) -> Operation {
        let bytes = self.query_key_bytes();
        let traffic = if self.stack.fused_rotary || self.stack.compile {
            Traffic::chain(bytes, bytes, if self.stack.compile { 1 } else { 2 })
        } else {
            Traffic::chain(5.0 * bytes, 4.0 * bytes, 8)
        };
        self.tensor_pass("rotary", MemoryKernel::Rotary, traffic, traffic, Saved::default(), bytes)
    }

    /// Copies that bring queries, keys and values, and what the core makes of them, into the layout
    /// of the next kernel.
    fn attention_copies(&self) -> Operation {
        let bytes = self.width() * (self.model.head_count * self.model.head_width()) as f64;
        let count = self.stack.attention_copies;
        let all = f64::from(count) * bytes;
        let traffic = Traffic::chain(all, all, count);
        let kind = MemoryKernel::Copy;
        self.tensor_pass("attention layout", kind, traffic, traffic, Saved::default(), bytes)
    }

    /// A fused core keeps q, k, v and the log-sum-exp of each row; its output is kept as the input
    /// of the projection after it (Dao et al. 2022, section 3).
    pub(super) fn fused_core(
        &self,
        family: AttentionFamily,
        qkv_width: u64,
        shape: CoreShape,
    ) -> Operation {
        let CoreShape { heads, kv_heads, head_dim, kernel_dim, window } = shape;
        let row_sums = 4.0 * heads as f64;
        Operation {
            name: "attention",
            kind: OperationKind::Attention {
                heads,
                kv_heads,
                head_dim,
                kernel_dim,
                window,
                family,
            },
            saved: Saved { tensor: self.width() * qkv_width as f64 + row_sums, ..Saved::default() },
            output: self.width() * (heads * head_dim) as f64,
            region: Region::Tensor,
            attention_core: true,
            beside_exchange: false,
        }
    }

    /// Scores in memory: product, scale-mask-softmax, dropout, product, and a copy of the heads
    /// into the layout of the projection. Kept: q, k, v; softmax output, dropout mask and output
    /// (Korthikanti et al. 2022, section 4.1: 5 bytes a score).
    pub(super) fn unfused_core(&self, qkv_width: u64, heads: u64, head_dim: u64) -> Vec<Operation> {
        let width = self.width();
        let output = width * (heads * head_dim) as f64;
        let core = |name, kind, saved| Operation {
            name,
            kind,
            saved,
            output,
            region: Region::Tensor,
            attention_core: true,
            beside_exchange: false,
        };
        let product = |product| OperationKind::Scores { heads, head_dim, product };
        let pass =
            |kind, forward, backward| OperationKind::ScorePass { kind, heads, forward, backward };
        let softmax = if self.stack.fused_softmax {
            // The causal kernel reads only the lower triangle but writes all.
            pass(
                MemoryKernel::Softmax,
                Traffic::one(0.5 * width, width),
                Traffic::one(2.0 * width, width),
            )
        } else {
            pass(
                MemoryKernel::Softmax,
                Traffic::chain(2.0 * width + 8.0, 2.0 * width + 8.0, 4),
                Traffic::chain(3.0 * width + 8.0, 2.0 * width + 8.0, 4),
            )
        };
        let qkv = Saved { tensor: width * qkv_width as f64, ..Saved::default() };
        let score = |bytes| Saved { score: bytes, ..Saved::default() };
        let mut operations = vec![
            core("query key product", product(ScoreProduct::QueryKey), qkv),
            core("softmax", softmax, score(width)),
        ];
        if self.has_dropout() {
            operations.push(core(
                "attention dropout",
                pass(
                    MemoryKernel::Pointwise,
                    Traffic::one(width, width + 1.0),
                    Traffic::one(width + 1.0, width),
                ),
                score(width + 1.0),
            ));
        }
        operations.push(core(
            "probability value product",
            product(ScoreProduct::ProbabilityValue),
            Saved::default(),
        ));
        let copy = Traffic::one(output, output);
        operations.push(Operation {
            attention_core: true,
            ..self.tensor_pass(
                "merge heads",
                MemoryKernel::Copy,
                copy,
                copy,
                Saved::default(),
                output,
            )
        });
        operations
    }
}
