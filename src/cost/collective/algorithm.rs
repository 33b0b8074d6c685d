//! What an algorithm says of itself: rounds of flows.

use super::load::Loads;
use super::protocol::{PROTOCOLS, Protocol};
use crate::topology::{Device, GpuIndex, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::Collective;

/// Bytes from one device to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow {
    /// Where it starts.
    pub from: Device,
    /// Where it ends.
    pub to: Device,
    /// How much.
    pub bytes: Bytes,
}

impl Flow {
    /// Between two GPUs.
    pub fn between(from: GpuIndex, to: GpuIndex, bytes: Bytes) -> Self {
        Self { from: Device::Gpu(from), to: Device::Gpu(to), bytes }
    }
}

/// The latency of a round as a count of steps; a protocol turns it into seconds.
///
/// Counts may be fractions: ranks of a ring do not wait for each other at each step, so a ring in
/// which one hop of eight crosses the network has an eighth of a network step a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steps {
    /// Hops in a scale-up domain that a byte makes one after the other.
    pub scale_up: f64,
    /// Hops over the network that a byte makes one after the other.
    pub network: f64,
    /// Set-up that does not depend on the protocol.
    pub fixed: Seconds,
}

/// Filling a pipeline: before the last hop can start, a chunk has to cross the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fill {
    /// Hops at the pace of the slowest link that a chunk crosses before the pipeline is full.
    pub hops: f64,
    /// Hops at the pace of the scale-up fabric that it crosses on top.
    pub scale_up_hops: f64,
    /// Bytes that are under way as one chunk at most, over all channels.
    pub chunk: f64,
}

/// Shares of the achievable rates, of a ring's, that an algorithm reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Of the scale-up rate.
    pub scale_up: f64,
    /// Of the network's rate.
    pub network: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { scale_up: 1.0, network: 1.0 }
    }
}

/// Flows that go on at the same time, a number of times in succession.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// How often the round is run.
    pub repeat: u64,
    /// Latency of the round.
    pub steps: Steps,
    /// Filling of the pipeline, where a round is one.
    pub fill: Fill,
    /// What each rank copies within its memory on top: its own part, from input to output.
    pub local: Bytes,
    /// What is sent.
    pub flows: Vec<Flow>,
}

/// A way to run collectives.
pub trait CollectiveAlgorithm: Sync {
    /// Name for reports.
    fn name(&self) -> &'static str;

    /// The rounds of one group of two or more distinct ranks; `None` if the algorithm cannot run
    /// the operation there. All bytes in them are proportional to the operation's.
    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>>;

    /// The rounds together with the bytes that they put on each link, the flows already dropped.
    /// An algorithm overrides this where a closed form is much cheaper than its flows.
    fn loads(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<(Round, Loads)>> {
        let rounds = self.rounds(collective, group, topology)?;
        let pair = |mut round: Round| {
            let flows = std::mem::take(&mut round.flows);
            (round, Loads::of_flows(&flows, topology))
        };
        Some(rounds.into_iter().map(pair).collect())
    }

    /// Shares of the achievable rates that the algorithm reaches on a group.
    fn shares(&self, _group: &[GpuIndex], _topology: &Topology) -> Shares {
        Shares::default()
    }

    /// The protocols that it runs on.
    fn protocols(&self) -> &'static [Protocol] {
        &PROTOCOLS
    }
}
