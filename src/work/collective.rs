//! Communication among ranks.

use crate::units::Bytes;

/// The axis of the plan along which ranks talk.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Tensor parallelism, sequence parallelism included.
    Tp,
    /// Context parallelism.
    Cp,
    /// Expert parallelism.
    Ep,
    /// Data parallelism: gradients, and parameters of sharded plans.
    Dp,
    /// Pipeline parallelism, the tied embeddings' all-reduce included.
    Pp,
    /// Communication of a trace, which does not say along which axis it is.
    #[serde(skip)]
    Unstated,
}

impl Axis {
    /// All axes of plans, in the order in which reports list them.
    pub const ALL: [Self; 5] = [Self::Tp, Self::Dp, Self::Pp, Self::Cp, Self::Ep];

    /// Name as in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tp => "tp",
            Self::Cp => "cp",
            Self::Ep => "ep",
            Self::Dp => "dp",
            Self::Pp => "pp",
            Self::Unstated => "communication",
        }
    }
}

/// The operation, named as NCCL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectiveKind {
    /// Every rank ends with the sum.
    AllReduce,
    /// Every rank ends with every rank's part.
    AllGather,
    /// Every rank ends with its part of the sum.
    ReduceScatter,
    /// One rank's buffer goes to all.
    Broadcast,
    /// Every rank sends a part to every other.
    AllToAll,
    /// One rank sends to one other.
    SendReceive,
}

impl CollectiveKind {
    /// All operations.
    pub const ALL: [Self; 6] = [
        Self::AllReduce,
        Self::AllGather,
        Self::ReduceScatter,
        Self::Broadcast,
        Self::AllToAll,
        Self::SendReceive,
    ];

    /// Name as NCCL tests print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::AllGather => "all_gather",
            Self::ReduceScatter => "reduce_scatter",
            Self::Broadcast => "broadcast",
            Self::AllToAll => "all_to_all",
            Self::SendReceive => "send_recv",
        }
    }
}

/// One communication of a group of ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collective {
    /// The operation.
    pub kind: CollectiveKind,
    /// Size as nccl-tests counts it: the buffer of a rank for all-reduce, broadcast and all-to-all,
    /// the gathered output for all-gather, the whole input for reduce-scatter, the message for
    /// send-receive.
    pub bytes: Bytes,
}

/// How tokens get to the ranks of their experts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Dispatcher {
    /// A row for each expert of a token, in a pairwise all-to-all.
    #[default]
    Alltoall,
    /// A token once to each rank that holds one of its experts (`DeepEP`).
    Deepep,
    /// The same by copy engines of the network and few SMs, permutation included (`HybridEP`).
    Hybridep,
}

impl Dispatcher {
    /// Name as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alltoall => "alltoall",
            Self::Deepep => "deepep",
            Self::Hybridep => "hybridep",
        }
    }
}

/// Direction of an exchange of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangePhase {
    /// To the experts.
    Dispatch,
    /// Back, results of a token's experts added up.
    Combine,
}

/// Tokens of each rank of a group to the ranks of their experts, or back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenExchange {
    /// Which way.
    pub phase: ExchangePhase,
    /// By which software.
    pub dispatcher: Dispatcher,
    /// Tokens of a rank.
    pub tokens: f64,
    /// Bytes of a token on the wire.
    pub token_bytes: f64,
    /// Experts that a token goes to.
    pub top_k: u64,
    /// Experts of all ranks.
    pub experts: u64,
}

impl TokenExchange {
    /// Bytes of the rows of a rank's tokens, one for each expert of a token.
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.tokens * self.token_bytes * self.top_k as f64)
    }
}
