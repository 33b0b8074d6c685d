//! A mixture of experts: router, the way of tokens to experts and back, experts, shared experts.

use super::{Builder, Operation, OperationKind, Parallel, Region, Saved, Traffic};
use crate::spec::Experts;
use crate::work::{Dispatcher, ExchangePhase, MemoryKernel};

/// Names of the operations of shared experts.
const SHARED: [&str; 3] = ["shared expert in", "shared expert activation", "shared expert out"];

/// Kernels of an unfused router over its scores: score function, top-k, gathers, scatters into the
/// routing map and probabilities, normalisation, counts, auxiliary loss (Megatron-core's
/// `topk_routing_with_score_function`, counted in its source).
const ROUTING_KERNELS: u32 = 14;
/// The same with Transformer Engine's fused router: scores and top-k, counts, auxiliary loss.
const FUSED_ROUTING_KERNELS: u32 = 4;
/// Kernels that find the order of rows without a fused permutation: sort, indices, masks.
const UNFUSED_ORDER_KERNELS: u32 = 5;

impl Builder<'_> {
    /// The operations from the normed residual stream to the sum of a token's experts.
    ///
    /// Megatron-core's order; shared experts stand where they may run beside the exchange.
    pub(super) fn experts(&self, experts: &Experts) -> Vec<Operation> {
        let hidden = self.model.hidden_size;
        let mut router =
            self.linear("router", hidden, experts.count, Parallel::Whole, self.model.linear_bias);
        if let OperationKind::Linear { quantised, .. } = &mut router.kind {
            *quantised = false;
        }
        router.saved = Saved::one(Region::Sequence, self.width() * hidden as f64);
        let mut operations = vec![router, self.routing(experts)];
        let rows = self.width() * (experts.top_k * hidden) as f64;
        let pairwise = self.stack.dispatcher == Dispatcher::Alltoall;
        if pairwise {
            operations.push(self.permutation("permute", rows, true));
        }
        operations.push(self.exchange(experts, ExchangePhase::Dispatch));
        if experts.shared_ffn_size > 0 {
            operations.extend(self.shared_experts(experts));
        }
        let sorts = self.stack.dispatcher != Dispatcher::Hybridep;
        if sorts {
            operations.push(self.moved("sort", rows, rows));
        }
        operations.extend(self.routed_experts(experts));
        if sorts {
            operations.push(self.moved("unsort", rows, rows));
        }
        operations.push(self.exchange(experts, ExchangePhase::Combine));
        if pairwise {
            operations.push(self.permutation("unpermute", rows, false));
        }
        if experts.shared_ffn_size > 0 {
            operations.push(self.shared_sum());
        }
        operations
    }

    fn sequence_pass(
        &self,
        name: &'static str,
        kind: MemoryKernel,
        forward: Traffic,
        backward: Traffic,
        saved: f64,
        output: f64,
    ) -> Operation {
        let region = Region::Sequence;
        Operation {
            name,
            kind: OperationKind::Pass { kind, region, forward, backward },
            saved: Saved::one(region, saved),
            output,
            region,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// Scores to probabilities and places, in fp32. Kept: scores, probabilities and the map.
    fn routing(&self, experts: &Experts) -> Operation {
        let scores = 4.0 * experts.count as f64;
        let fused = self.stack.fused_router || self.stack.compile;
        let launches = if fused { FUSED_ROUTING_KERNELS } else { ROUTING_KERNELS };
        let share = f64::from(launches);
        let forward = Traffic::chain(share * scores, 0.75 * share * scores, launches);
        let launches = (launches / 2).max(1);
        let share = f64::from(launches);
        let backward = Traffic::chain(share * scores, share * scores, launches);
        let kept = 2.25 * scores;
        self.sequence_pass("routing", MemoryKernel::Pointwise, forward, backward, kept, scores)
    }

    /// Tokens to rows by expert, or back: one side is a token wide, the other all its rows.
    fn permutation(&self, name: &'static str, rows: f64, outward: bool) -> Operation {
        let token = self.width() * self.model.hidden_size as f64;
        let order = if self.stack.fused_permute { 0 } else { UNFUSED_ORDER_KERNELS };
        let (mut out, back) = (Traffic::one(token, rows), Traffic::one(rows, token));
        if outward {
            out.launches += order;
        }
        let (forward, backward) = if outward { (out, back) } else { (back, out) };
        let output = if outward { rows } else { token };
        self.sequence_pass(name, MemoryKernel::Permute, forward, backward, 0.0, output)
    }

    /// Rows into another order.
    fn moved(&self, name: &'static str, read: f64, write: f64) -> Operation {
        let traffic = Traffic::one(read, write);
        self.sequence_pass(name, MemoryKernel::Permute, traffic, traffic, 0.0, write)
    }

    fn exchange(&self, experts: &Experts, phase: ExchangePhase) -> Operation {
        let token_bytes = self.width() * self.model.hidden_size as f64;
        let (name, region) = match phase {
            ExchangePhase::Dispatch => ("dispatch", Region::Experts),
            ExchangePhase::Combine => ("combine", Region::Sequence),
        };
        let (count, top_k) = (experts.count, experts.top_k);
        Operation {
            name,
            kind: OperationKind::Exchange { phase, token_bytes, experts: count, top_k },
            saved: Saved::default(),
            output: token_bytes * top_k as f64,
            region,
            attention_core: false,
            beside_exchange: false,
        }
    }

    /// Two grouped products with the activation between them, which also weights the rows
    /// (Megatron-core's `weighted_bias_swiglu_impl`).
    fn routed_experts(&self, experts: &Experts) -> [Operation; 3] {
        let (hidden, ffn, top_k) = (self.model.hidden_size, experts.ffn_size, experts.top_k);
        let widened = ffn * self.model.mlp_input_matrices();
        let kept = self.linear_input_width() * top_k as f64;
        let product = |name, input: u64, output: u64, parallel, saved, region| Operation {
            name,
            kind: OperationKind::Grouped {
                input,
                output,
                parallel,
                experts: experts.count,
                top_k,
                bias: self.model.linear_bias,
            },
            saved,
            output: self.width() * (top_k * output) as f64,
            region,
            attention_core: false,
            beside_exchange: false,
        };
        let wide = Saved::one(Region::Experts, kept * hidden as f64);
        let narrow = Saved::one(Region::Sequence, kept * ffn as f64);
        // A rank's part of the width times as many rows: the same as its tokens' share of all.
        let (cut, rows) = (Region::Sequence, Region::Experts);
        [
            product("expert in", hidden, widened, Parallel::Column, wide, cut),
            self.activation("expert activation", (top_k * ffn) as f64, Region::Sequence),
            product("expert out", ffn, hidden, Parallel::Row, narrow, rows),
        ]
    }

    /// Experts that every token passes; their input is that of the router.
    fn shared_experts(&self, experts: &Experts) -> Vec<Operation> {
        let mut operations = self.mlp(SHARED, experts.shared_ffn_size);
        if self.linear_input_width() >= self.width() {
            operations[0].saved = Saved::default();
        }
        operations.iter_mut().for_each(|operation| operation.beside_exchange = true);
        operations
    }

    fn shared_sum(&self) -> Operation {
        let bytes = self.width() * self.model.hidden_size as f64;
        let sum = Traffic::one(2.0 * bytes, bytes);
        let kind = MemoryKernel::Residual;
        self.sequence_pass("shared expert sum", kind, sum, Traffic::NONE, 0.0, bytes)
    }
}
