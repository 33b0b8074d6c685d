//! The ring: every rank passes a part on to the next, `n - 1` times, or twice that to also add.
//!
//! All-gather and reduce-scatter run `n - 1` rounds of `S / n` a rank, all-reduce `2 (n - 1)`
//! (Patarasuk and Yuan 2009). Within a domain the order of ranks does not matter. Across domains
//! NCCL lays one ring (channel) per network port, each of which enters and leaves every domain
//! once, at a different GPU, so that every port of the group's GPUs carries its part.

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Steps};
use super::layout::{Domain, Layout};
use crate::topology::{GpuIndex, Topology};
use crate::units::Bytes;
use crate::work::{Collective, CollectiveKind};

/// The ring, with as many channels as the group has ports.
pub(super) struct Ring;

impl CollectiveAlgorithm for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        let passes = match collective.kind {
            CollectiveKind::AllReduce => 2,
            CollectiveKind::AllGather | CollectiveKind::ReduceScatter => 1,
            CollectiveKind::Broadcast | CollectiveKind::AllToAll | CollectiveKind::SendReceive => {
                return None;
            }
        };
        let layout = Layout::new(group, topology);
        let part = collective.bytes / layout.size as f64;
        let repeat = passes * (layout.size as u64 - 1);
        let crossings = if layout.domains.len() > 1 { layout.domains.len() as f64 } else { 0.0 };
        let steps = Steps {
            scale_up: 1.0 - crossings / layout.size as f64,
            network: crossings / layout.size as f64,
            ..Steps::default()
        };
        let local = part / repeat as f64;
        let flows = flows(&layout, part, topology.is_direct_mesh());
        Some(vec![Round { repeat, steps, fill: Fill::default(), local, flows }])
    }
}

/// One round: each rank sends a part, spread over the channels.
pub(super) fn flows(layout: &Layout, part: Bytes, direct: bool) -> Vec<Flow> {
    let mut flows = Vec::new();
    let [first, rest @ ..] = layout.domains.as_slice() else { return flows };
    if rest.is_empty() {
        for at in 0..first.ranks.len() {
            pass_on(first, at, part, direct, &mut flows);
        }
        return flows;
    }
    let channels = layout.channel_count;
    let slice = part / channels as f64;
    for (index, domain) in layout.domains.iter().enumerate() {
        let next = &layout.domains[(index + 1) % layout.domains.len()];
        // A channel enters at its gateway and visits the ranks in order from there; the rank
        // before the gateway comes last and sends to the next domain.
        let mut inside = vec![channels; domain.ranks.len()];
        for channel in 0..channels {
            let last = before(domain.gateways[channel], domain.ranks.len());
            inside[last] -= 1;
            let entry = next.ranks[next.gateways[channel]];
            flows.push(Flow::between(domain.ranks[last], entry, slice));
        }
        for (at, count) in inside.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            pass_on(domain, at, slice * count as f64, direct, &mut flows);
        }
    }
    flows
}

fn before(at: usize, count: usize) -> usize {
    (at + count - 1) % count
}

/// What a rank sends to the next of its domain. A directly meshed domain has rings in as many
/// orders as it has links, which spreads it over all peers.
fn pass_on(domain: &Domain, at: usize, bytes: Bytes, direct: bool, flows: &mut Vec<Flow>) {
    let ranks = &domain.ranks;
    if direct {
        let peers = (0..ranks.len()).filter(|peer| *peer != at);
        let share = bytes / (ranks.len() - 1) as f64;
        flows.extend(peers.map(|peer| Flow::between(ranks[at], ranks[peer], share)));
    } else {
        flows.push(Flow::between(ranks[at], ranks[(at + 1) % ranks.len()], bytes));
    }
}
