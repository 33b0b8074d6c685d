//! Everything the plan decides, resolved against the model and the cluster.

use super::error::{PlanError, divide};
use super::{Coordinates, Mesh, Shard, stages};
use crate::spec::{ContextParallel, Scenario};
use crate::work::AttentionFamily;

/// A plan made concrete.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Ranks and groups.
    pub mesh: Mesh,
    /// Layers by stage and chunk.
    pub stage_layers: Vec<Vec<u64>>,
    /// The stage of final norm, output projection and loss; those after it are idle.
    pub head_stage: usize,
    /// How a rank's share of an operation is cut.
    pub shard: Shard,
    /// Micro-batches of a replica a step.
    pub micro_batch_count: u64,
}

impl Layout {
    /// Resolves the plan of a scenario.
    ///
    /// # Errors
    ///
    /// When the axes need more GPUs than there are, or something does not divide.
    pub fn new(scenario: &Scenario) -> Result<Self, PlanError> {
        let (plan, training, model) = (&scenario.plan, &scenario.training, &scenario.model);
        let dp = scenario.data_parallel();
        let size = Coordinates { tp: plan.tp, cp: plan.cp, dp, pp: plan.pp };
        let (needed, available) = (scenario.world_size(), scenario.cluster.gpu_count());
        if needed == 0 || needed > available {
            return Err(PlanError::WorldSize {
                tp: plan.tp,
                pp: plan.pp,
                cp: plan.cp,
                dp,
                needed,
                available,
            });
        }
        if scenario.stack.attention == AttentionFamily::Unfused
            && plan.cp > 1
            && plan.cp_kind == ContextParallel::Ring
        {
            return Err(PlanError::Unsupported(
                "ring context parallelism needs fused attention; choose plan.cp_kind = \
                 \"all_gather\" or another stack.attention",
            ));
        }
        let replicas = dp * plan.cp;
        let shard_group = plan.shard_group.unwrap_or(replicas);
        divide("plan.dp x plan.cp", replicas, "plan.shard_group", shard_group)?;
        let micro_batch_count = divide(
            "training.global_batch",
            training.global_batch,
            "plan.dp x training.micro_batch",
            dp * training.micro_batch,
        )?;
        divide("model.head_count", model.head_count, "plan.tp", plan.tp)?;
        divide("training.sequence_length", training.sequence_length, "plan.cp", plan.cp)?;
        if plan.cp > 1 && plan.cp_kind == ContextParallel::Ulysses {
            divide("model.head_count", model.head_count, "plan.tp x plan.cp", plan.tp * plan.cp)?;
        }
        let stages = stages(scenario)?;
        let mesh = Mesh::new(size, &scenario.stack.rank_order, shard_group);
        Ok(Self {
            mesh: mesh.with_head_on(stages.head as u64),
            stage_layers: stages.layers,
            head_stage: stages.head,
            shard: Shard::new(scenario),
            micro_batch_count,
        })
    }

    /// Layers of a stage.
    pub fn layers_on(&self, stage: usize) -> u64 {
        self.stage_layers[stage].iter().sum()
    }
}
