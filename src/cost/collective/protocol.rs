//! NCCL's three protocols, as lines: a latency a step and a share of the bandwidth.
//!
//! Constants are those of NCCL's tuner (NVIDIA/nccl, `src/graph/tuning.cc`: `baseLat`, `hwLat` and
//! the factors of `busBw`), where a scale-up step takes 0.6, 1.9 and 3.4 us and a network step 2.7,
//! 4.0 and 14 us. What the fabric takes is in the cluster's file as the time of a hop, measured with
//! the leanest protocol; so a scale-up step is kept as a multiple of it (the flags that it waits for
//! cross the same fabric) and a network step as an addition to it (work of the host's proxy).

use crate::topology::Topology;
use crate::units::Seconds;

/// A way to move bytes along a hop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protocol {
    /// Name as NCCL prints it.
    pub name: &'static str,
    /// Time from the start of the kernel to its first step.
    pub base: Seconds,
    /// Time of a scale-up step over the latency of a hop.
    pub scale_up_factor: f64,
    /// Time of a network step less the latency of the network.
    pub network_extra: Seconds,
    /// Payload over bytes on the wire.
    pub share: f64,
}

impl Protocol {
    /// Time of a scale-up step.
    pub fn scale_up_step(&self, topology: &Topology) -> Seconds {
        topology.scale_up_latency() * self.scale_up_factor
    }

    /// Time of a network step on a route of some latency.
    pub fn network_step(&self, latency: Seconds) -> Seconds {
        latency + self.network_extra
    }
}

/// Small messages: a flag with every 4 bytes, so half of the wire is payload.
pub(super) const LL: Protocol = Protocol {
    name: "LL",
    base: Seconds::from_us(6.6),
    scale_up_factor: 1.0,
    network_extra: Seconds::ZERO,
    share: 0.5,
};

/// Medium ones: 120 of 128 bytes are payload, of which the tuner expects 0.92.
pub(super) const LL128: Protocol = Protocol {
    name: "LL128",
    base: Seconds::from_us(14.0),
    scale_up_factor: 1.9 / 0.6,
    network_extra: Seconds::from_us(4.0 - 2.7),
    share: 0.92,
};

/// Large ones: whole chunks and a fence. 14 us a network step less 8 of an InfiniBand hop.
pub(super) const SIMPLE: Protocol = Protocol {
    name: "Simple",
    base: Seconds::from_us(8.4),
    scale_up_factor: 3.4 / 0.6,
    network_extra: Seconds::from_us(14.0 - 8.0),
    share: 1.0,
};

/// All protocols.
pub const PROTOCOLS: [Protocol; 3] = [LL, LL128, SIMPLE];
