//! The parallelism plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the step is cut over ranks; data parallelism is what the other axes leave of the cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Tensor-parallel ranks.
    #[serde(default = "one")]
    pub tp: u64,
    /// Pipeline stages.
    #[serde(default = "one")]
    pub pp: u64,
    /// Context-parallel ranks.
    #[serde(default = "one")]
    pub cp: u64,
    /// Expert-parallel ranks, among the tp x cp x dp ranks of a stage; 1 for dense models.
    #[serde(default = "one")]
    pub ep: u64,
    /// Ranks that an expert is cut over, as tensor parallelism cuts an MLP; tp when absent, as in
    /// Megatron-core.
    #[serde(default)]
    pub etp: Option<u64>,
    /// Data-parallel replicas; all that the cluster has left when absent.
    #[serde(default)]
    pub dp: Option<u64>,
    /// Whether the regions outside tensor parallelism are cut along the sequence over tp ranks.
    #[serde(default)]
    pub sequence_parallel: bool,
    /// How context-parallel ranks exchange keys and values.
    #[serde(default)]
    pub cp_kind: ContextParallel,
    /// Order of forward and backward on a stage.
    #[serde(default)]
    pub schedule: Schedule,
    /// Model chunks a stage, for the interleaved schedule.
    #[serde(default = "one")]
    pub virtual_stages: u64,
    /// Layers of each chunk in pipeline order (`pp * virtual_stages` numbers); even when absent.
    #[serde(default)]
    pub stage_layers: Option<Vec<u64>>,
    /// Whether the embedding and the head each count as a layer when layers are spread evenly.
    #[serde(default)]
    pub count_embedding_and_head: bool,
    /// What data parallelism shards: 0 nothing, 1 optimizer states, 2 gradients too, 3 parameters
    /// too.
    #[serde(default)]
    pub zero: u64,
    /// Ranks that one shard set spans (HSDP); all of data and context parallelism when absent.
    #[serde(default)]
    pub shard_group: Option<u64>,
    /// With `zero = 3`, whether a layer's parameters are freed after forward and gathered again.
    #[serde(default = "yes")]
    pub reshard_after_forward: bool,
    /// What backward computes again.
    #[serde(default)]
    pub recompute: Recompute,
    /// Layers of a stage that `recompute` covers; all when absent.
    #[serde(default)]
    pub recompute_layers: Option<u64>,
    /// Whether optimizer states live in host memory.
    #[serde(default)]
    pub offload_optimizer: bool,
}

impl Default for Plan {
    /// No parallelism but data parallelism.
    fn default() -> Self {
        Self {
            tp: 1,
            pp: 1,
            cp: 1,
            ep: 1,
            etp: None,
            dp: None,
            sequence_parallel: false,
            cp_kind: ContextParallel::default(),
            schedule: Schedule::default(),
            virtual_stages: 1,
            stage_layers: None,
            count_embedding_and_head: false,
            zero: 0,
            shard_group: None,
            reshard_after_forward: true,
            recompute: Recompute::default(),
            recompute_layers: None,
            offload_optimizer: false,
        }
    }
}

impl Plan {
    /// Ranks that an expert is cut over.
    pub fn expert_tensor_parallel(&self) -> u64 {
        self.etp.unwrap_or(self.tp)
    }
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

/// How context-parallel ranks exchange keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextParallel {
    /// Keys and values travel round a ring while attention runs (Liu et al. 2023).
    #[default]
    Ring,
    /// Keys and values are gathered before attention (Llama 3).
    AllGather,
    /// Heads are exchanged for sequence by all-to-all (DeepSpeed-Ulysses).
    Ulysses,
}

/// Pipeline schedule, by its name in the registry of `plan::schedule`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// All forwards, then all backwards (Huang et al. 2019).
    Gpipe,
    /// One forward, one backward (Narayanan et al. 2021).
    #[default]
    #[serde(rename = "1f1b")]
    OneForwardOneBackward,
    /// 1F1B over several model chunks a stage (Narayanan et al. 2021).
    Interleaved,
}

impl Schedule {
    /// Name as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpipe => "gpipe",
            Self::OneForwardOneBackward => "1f1b",
            Self::Interleaved => "interleaved",
        }
    }
}

/// What backward computes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// The attention core (Korthikanti et al. 2022).
    Selective,
    /// The whole layer from its input.
    Full,
}
