//! The whole question: six parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cluster, Fit, MeasuredFit, Model, Plan, Stack, Training};

/// A model on a cluster with a software stack, cut by a plan, trained on a batch.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name for people; that of the file when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// What is trained.
    pub model: Model,
    /// On which machine.
    pub cluster: Cluster,
    /// With which learned corrections.
    #[serde(default)]
    pub fit: Fit,
    /// By which software.
    pub stack: Stack,
    /// Cut how.
    #[serde(default)]
    pub plan: Plan,
    /// On which batch, in which precision.
    pub training: Training,
    /// Cost models that loading found for the cluster's GPU, or for those most like it.
    #[serde(skip)]
    pub measured: Vec<MeasuredFit>,
}

impl Scenario {
    /// Ranks that the plan occupies: all GPUs of the cluster, or fewer when `plan.dp` says so.
    pub fn world_size(&self) -> u64 {
        self.plan.tp * self.plan.pp * self.plan.cp * self.data_parallel()
    }

    /// Layers of a stage that recomputation covers, as the plan says, else as recipes of the stack
    /// have it; `None` for all.
    pub fn recompute_layers(&self) -> Option<u64> {
        let block = self.stack.block_recompute_layers;
        let block = block.filter(|_| self.plan.recompute == super::Recompute::Full);
        self.plan.recompute_layers.or(block)
    }

    /// Data-parallel replicas.
    pub fn data_parallel(&self) -> u64 {
        let others = self.plan.tp * self.plan.pp * self.plan.cp;
        self.plan.dp.unwrap_or_else(|| self.cluster.gpu_count() / others.max(1))
    }

    /// Micro-batches a replica runs a step.
    pub fn micro_batch_count(&self) -> u64 {
        self.training.global_batch / (self.data_parallel() * self.training.micro_batch).max(1)
    }
}
