//! A rank's share of a mixture of experts: rows, products, exchanges.

use super::Shard;
use crate::graph::{Operation, OperationKind, Parallel, Region};
use crate::spec::Scenario;
use crate::units::Bytes;
use crate::work::{DType, Dispatcher, GemmLayout, Kernel, TokenExchange};

/// How experts are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertShard {
    /// Ranks that experts are spread over.
    pub ep: u64,
    /// Ranks that each expert is cut over.
    pub etp: u64,
    /// How tokens get there.
    pub dispatcher: Dispatcher,
}

/// Products of the experts of a rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupedShape {
    /// Rows of an expert, as many for each.
    pub rows: u64,
    /// Experts of a rank.
    pub groups: u64,
    /// Width of the input on this rank.
    pub input: u64,
    /// Width of the output on this rank.
    pub output: u64,
}

impl ExpertShard {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            ep: scenario.plan.ep,
            etp: scenario.plan.expert_tensor_parallel(),
            dispatcher: scenario.stack.dispatcher,
        }
    }
}

impl Shard {
    /// Tokens of a micro-batch that a rank holds of the residual stream.
    pub fn own_tokens(&self) -> f64 {
        self.tokens() as f64 * self.fraction(Region::Sequence)
    }

    /// The shape of a grouped product; `None` for other operations.
    ///
    /// Routing is taken as even: each expert gets its share of the rows. Ranks exchange as many
    /// rows as they have, so a rank has the rows of its own tokens, and those of the other ranks
    /// that its experts are cut over.
    pub fn grouped(&self, operation: &Operation) -> Option<GroupedShape> {
        let OperationKind::Grouped { input, output, parallel, experts, top_k, .. } = operation.kind
        else {
            return None;
        };
        let ExpertShard { ep, etp, .. } = self.experts;
        let groups = experts.div_ceil(ep);
        let rows = self.own_tokens() * (top_k * etp) as f64 / groups as f64;
        let (input, output) = match parallel {
            Parallel::Column => (input, output.div_ceil(etp)),
            Parallel::Row => (input.div_ceil(etp), output),
            Parallel::Whole => (input, output),
        };
        // Below a row an expert, some have none and cost nothing but their weights' place.
        Some(GroupedShape { rows: (rows.round() as u64).max(1), groups, input, output })
    }

    /// The forward product of a rank's experts.
    pub fn grouped_forward(&self, shape: GroupedShape) -> Kernel {
        let GroupedShape { rows, groups, input, output } = shape;
        self.product([rows, output, input], groups, GemmLayout::Tn)
    }

    /// The product for the gradient of the rows.
    pub fn grouped_dgrad(&self, shape: GroupedShape) -> Kernel {
        let GroupedShape { rows, groups, input, output } = shape;
        self.product([rows, input, output], groups, GemmLayout::Nn)
    }

    /// The product for the gradient of the weights.
    pub fn grouped_wgrad(&self, shape: GroupedShape) -> Kernel {
        let GroupedShape { rows, groups, input, output } = shape;
        self.product([output, input, rows], groups, GemmLayout::Nt)
    }

    fn product(&self, sizes: [u64; 3], groups: u64, layout: GemmLayout) -> Kernel {
        self.gemm(sizes, groups, self.expert_dtype(), layout)
    }

    /// Format of the operands of experts' products.
    pub fn expert_dtype(&self) -> DType {
        self.linear
    }

    /// What a rank sends in an exchange; `None` where it stays on the rank, and for other
    /// operations.
    pub fn token_exchange(&self, operation: &Operation) -> Option<TokenExchange> {
        let OperationKind::Exchange { phase, token_bytes, experts, top_k } = operation.kind else {
            return None;
        };
        (self.experts.ep > 1).then(|| TokenExchange {
            phase,
            dispatcher: self.experts.dispatcher,
            tokens: self.own_tokens(),
            token_bytes,
            top_k,
            experts,
        })
    }

    /// Bytes of the rows that ranks which share experts gather from each other before the products,
    /// and sum up after them; `None` where experts are whole.
    pub fn expert_gather(&self, operation: &Operation) -> Option<Bytes> {
        let OperationKind::Exchange { token_bytes, top_k, .. } = operation.kind else {
            return None;
        };
        let rows = self.own_tokens() * (top_k * self.experts.etp) as f64;
        (self.experts.etp > 1).then(|| Bytes::new(rows * token_bytes))
    }
}
