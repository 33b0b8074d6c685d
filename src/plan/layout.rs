//! Everything the plan decides, resolved against the model and the cluster.

use super::error::{PlanError, divide};
use super::{Coordinates, ExpertMesh, Mesh, Shard, stages};
use crate::spec::{ContextParallel, LayerKind, Scenario};
use crate::work::AttentionFamily;

/// A plan made concrete.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Ranks and groups.
    pub mesh: Mesh,
    /// Layers by stage and chunk.
    pub stage_layers: Vec<Vec<u64>>,
    /// What kind each layer of the model is, in order.
    pub layer_kinds: Vec<LayerKind>,
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
            mesh: mesh
                .with_head_on(stages.head as u64)
                .with_experts(expert_mesh(scenario, replicas / shard_group)?),
            layer_kinds: (0..model.layer_count).map(|layer| model.layer_kind(layer)).collect(),
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

    /// The place in the model of the first layer of a chunk of a stage.
    pub fn first_layer(&self, stage: usize, chunk: usize) -> u64 {
        let whole: u64 = self.stage_layers.iter().flat_map(|chunks| &chunks[..chunk]).sum();
        let before: u64 = self.stage_layers[..stage].iter().map(|chunks| chunks[chunk]).sum();
        whole + before
    }

    /// The kinds of the layers of a chunk of a stage, in order.
    pub fn kinds_of(&self, stage: usize, chunk: usize) -> &[LayerKind] {
        let first = self.first_layer(stage, chunk) as usize;
        &self.layer_kinds[first..first + self.stage_layers[stage][chunk] as usize]
    }

    /// The kinds of all layers of a stage.
    pub fn kinds_on(&self, stage: usize) -> impl Iterator<Item = LayerKind> + '_ {
        let chunks = 0..self.stage_layers[stage].len();
        chunks.flat_map(move |chunk| self.kinds_of(stage, chunk).iter().copied())
    }
}

/// How experts lie on the ranks of a stage, when there are `copies` sets of shards.
fn expert_mesh(scenario: &Scenario, copies: u64) -> Result<ExpertMesh, PlanError> {
    let (plan, model) = (&scenario.plan, &scenario.model);
    let Some(experts) = &model.experts else {
        return match plan.ep {
            1 => Ok(ExpertMesh::default()),
            _ => Err(PlanError::Unsupported("plan.ep is above 1, and the model has no experts")),
        };
    };
    if plan.tp > 1 && !plan.sequence_parallel {
        return Err(PlanError::Unsupported(
            "experts need plan.sequence_parallel = true beside tensor parallelism: tokens are \
             routed where they are",
        ));
    }
    let (ep, etp) = (plan.ep, plan.expert_tensor_parallel());
    divide("model.experts.count", experts.count, "plan.ep", ep)?;
    divide("model.experts.ffn_size", experts.ffn_size, "plan.etp", etp)?;
    let ranks = plan.tp * plan.cp * scenario.data_parallel();
    let replicas = divide("plan.tp x plan.cp x dp", ranks, "plan.ep x plan.etp", ep * etp)?;
    // Copies of a shard are whole nodes apart for experts as for the rest; where a shard of the
    // rest spans more ranks than experts have replicas, theirs has no copy.
    let shard_group = if replicas.is_multiple_of(copies) { replicas / copies } else { replicas };
    Ok(ExpertMesh { etp, ep, replicas, shard_group: shard_group.max(1) })
}
