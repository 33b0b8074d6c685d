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
}

impl Axis {
    /// All axes, in the order in which reports list them.
    pub const ALL: [Self; 5] = [Self::Tp, Self::Dp, Self::Pp, Self::Cp, Self::Ep];

    /// Name as in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tp => "tp",
            Self::Cp => "cp",
            Self::Ep => "ep",
            Self::Dp => "dp",
            Self::Pp => "pp",
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
