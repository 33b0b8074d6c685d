//! Plans that cannot be.

/// Why a plan does not work for a model on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The axes do not multiply to ranks that the cluster has.
    #[error(
        "tp {tp} x pp {pp} x cp {cp} x dp {dp} needs {needed} GPUs and the cluster has \
         {available}; lower one of them or raise cluster.node_count"
    )]
    WorldSize {
        /// Tensor-parallel ranks.
        tp: u64,
        /// Pipeline stages.
        pp: u64,
        /// Context-parallel ranks.
        cp: u64,
        /// Data-parallel replicas.
        dp: u64,
        /// Their product.
        needed: u64,
        /// GPUs of the cluster.
        available: u64,
    },
    /// Something does not divide.
    #[error("{what} ({value}) must be a multiple of {by} ({divisor})")]
    NotDivisible {
        /// What is divided.
        what: &'static str,
        /// Its value.
        value: u64,
        /// By what.
        by: &'static str,
        /// Its value.
        divisor: u64,
    },
    /// The given layers do not add up.
    #[error(
        "plan.stage_layers has {found} numbers that sum to {sum}; {chunks} that sum to {layers} \
         are needed"
    )]
    StageLayers {
        /// Numbers given.
        found: usize,
        /// Their sum.
        sum: u64,
        /// Chunks of the pipeline.
        chunks: u64,
        /// Layers of the model.
        layers: u64,
    },
    /// A combination that no stack runs.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// `value / divisor`, or the problem.
pub(super) fn divide(
    what: &'static str,
    value: u64,
    by: &'static str,
    divisor: u64,
) -> Result<u64, PlanError> {
    if divisor == 0 || !value.is_multiple_of(divisor) {
        return Err(PlanError::NotDivisible { what, value, by, divisor });
    }
    Ok(value / divisor)
}
