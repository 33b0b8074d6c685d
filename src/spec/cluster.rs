//! The machine: GPUs in nodes, NICs, fabric.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::units::{BytesPerSecond, Seconds};

/// A cluster of equal nodes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Name for people.
    pub name: String,
    /// The GPU, by name or as a table.
    pub gpu: super::Gpu,
    /// GPUs a node (a compute tray of a rack-scale machine).
    pub gpus_per_node: u64,
    /// Nodes.
    pub node_count: u64,
    /// GPUs that share one scale-up domain; `gpus_per_node` when absent, more on rack-scale
    /// machines.
    #[serde(default)]
    pub scale_up_domain_size: Option<u64>,
    /// Scale-up (NVLink, XGMI, PCIe) bandwidth of a GPU, one direction.
    pub scale_up_bandwidth: BytesPerSecond,
    /// Share of it that large messages reach.
    pub scale_up_fraction: f64,
    /// Time of one hop between GPUs of a domain.
    pub scale_up_latency: Seconds,
    /// Whether GPUs reach each other through a switch (else a direct full mesh or a shared bus).
    pub scale_up_switched: bool,
    /// Whether the switch can reduce (NVLink SHARP).
    #[serde(default)]
    pub in_switch_reduction: bool,
    /// Buffer that a large all-reduce in the switch gets done in a second, over
    /// `scale_up_bandwidth`; 0.74 of `scale_up_fraction` when absent.
    #[serde(default)]
    pub in_switch_fraction: Option<f64>,
    /// NICs a node; 0 for a single node.
    pub nics_per_node: u64,
    /// Bandwidth of one NIC, one direction.
    pub nic_bandwidth: BytesPerSecond,
    /// Share of it that large messages reach.
    pub nic_fraction: f64,
    /// Time of one hop between nodes, NIC to NIC through a leaf switch, host path included.
    pub network_latency: Seconds,
    /// Added time of a hop between nodes for messages that sender and receiver agree on first:
    /// above 8 KiB on EFA. None where the NICs write without asking (InfiniBand, RoCE).
    #[serde(default)]
    pub rendezvous_latency: Seconds,
    /// Added time when the route leaves the leaf switch.
    pub spine_latency: Seconds,
    /// Nodes under one leaf switch (or rail group).
    pub nodes_per_leaf: u64,
    /// Share of the full bandwidth that the fabric above the leaves offers (1 is non-blocking).
    #[serde(default = "one")]
    pub spine_fraction: f64,
    /// Bandwidth between a GPU and its host, one direction.
    pub host_bandwidth: BytesPerSecond,
    /// Whether jobs run with `CUDA_LAUNCH_BLOCKING=1`, as on machines where NCCL hangs without it:
    /// the host waits for every kernel, so that each launch adds its time to the step.
    #[serde(default)]
    pub blocking_launches: bool,
    /// Where each number comes from, by key; `recalled:` in front marks what was not looked up.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

fn one() -> f64 {
    1.0
}

impl Cluster {
    /// GPUs in all.
    pub fn gpu_count(&self) -> u64 {
        self.gpus_per_node * self.node_count
    }

    /// GPUs that share one scale-up domain.
    pub fn domain_size(&self) -> u64 {
        self.scale_up_domain_size.unwrap_or(self.gpus_per_node).max(self.gpus_per_node)
    }
}
