//! What the instructions of a program cost.

use crate::timeline::Breakdown;
use crate::units::{Bytes, Seconds};

/// Shares of a rank's links that a collective uses while it runs alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ports {
    /// Of the scale-up link (NVLink), each direction.
    pub scale_up: f64,
    /// Of the rank's part of the node's NICs, each direction.
    pub network: f64,
}

/// Cost of one work item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkCost {
    /// Time on the device, undisturbed.
    pub time: Seconds,
    /// Time of the host to launch it.
    pub launch: Seconds,
    /// Time by which it starts later than all that it waits for lets it; zero for a lowered plan.
    pub delay: Seconds,
    /// For kernels: time beside communication over time alone.
    pub slowdown: f64,
    /// For communication: what it uses of the links.
    pub ports: Ports,
}

/// Cost of a block, as one piece of work on the compute stream.
///
/// A block without its surroundings is a map from (device free, host free) to (device end, host
/// end) in the max-plus algebra: `device end = max(device free + time, host free + joint)` and
/// `host end = host free + host`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockCost {
    /// Time on the device when everything was launched long before.
    pub time: Seconds,
    /// Time of the host to launch all of it.
    pub host: Seconds,
    /// From the host's start to the device's end when the device waits for the host.
    pub joint: Seconds,
    /// Launches in it.
    pub launches: u32,
    /// Time beside communication over time alone.
    pub slowdown: f64,
    /// Activations kept after it (negative when it frees more than it takes).
    pub activations_net: Bytes,
    /// Most activations in it above those at its start.
    pub activations_peak: Bytes,
    /// What it is made of.
    pub breakdown: Breakdown,
}

/// Costs of a program, by index of work and block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// Of works.
    pub works: Vec<WorkCost>,
    /// Of blocks; empty when the program is to be run unfolded.
    pub blocks: Vec<BlockCost>,
}

/// What launching costs beside the launch itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostCosts {
    /// From a launch call to the start on an idle device.
    pub launch_latency: Seconds,
    /// Launches that may wait on the device before a launch call blocks.
    pub queue_depth: u32,
}
