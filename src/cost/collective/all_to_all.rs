//! All-to-all as NCCL runs it: pairwise sends and receives, all in one kernel.

use rustc_hash::FxHashMap;

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Shares, Steps};
use super::layout::Layout;
use super::load::Loads;
use crate::topology::{GpuIndex, LinkKind, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// Every rank sends `S / n` to each other one.
pub(super) struct AllToAll;

/// Share of the ring's scale-up rate: 280 (2 GPUs) to 315 GB/s (8 GPUs) of 367 on H100
/// (aiconfigurator@095f58a). A rank copies its own part meanwhile.
const SHARE: f64 = 0.8;

/// Peers that a rank serves at the same time (NVIDIA/nccl, `src/include/device.h`:
/// `NCCL_MAX_WORK_ELEMENTS_P2P` of 16 is eight sends and eight receives).
const PEERS_IN_FLIGHT: usize = 8;

impl CollectiveAlgorithm for AllToAll {
    fn name(&self) -> &'static str {
        "pairwise"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        let layout = Layout::new(group, topology);
        let mut round = outline(collective, &layout)?;
        let part = collective.bytes / layout.size as f64;
        for &from in group {
            let peers = group.iter().filter(|to| **to != from);
            round.flows.extend(peers.map(|to| Flow::between(from, *to, part)));
        }
        Some(vec![round])
    }

    /// In closed form: a rank's sends, counted by where its peers are. Linear in the ranks where
    /// the flows are quadratic.
    fn loads(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<(Round, Loads)>> {
        if topology.is_direct_mesh() {
            // Each pair of a domain has a link of its own; the domains are small.
            let mut rounds = self.rounds(collective, group, topology)?;
            let flows: Vec<Flow> = rounds.iter_mut().flat_map(|one| one.flows.drain(..)).collect();
            let loads = Loads::of_flows(&flows, topology);
            return Some(rounds.into_iter().map(|round| (round, loads.clone())).collect());
        }
        let layout = Layout::new(group, topology);
        let round = outline(collective, &layout)?;
        let part = collective.bytes.value() / layout.size as f64;
        let places = |gpu: &GpuIndex| (topology.domain_of(*gpu), topology.leaf_of(*gpu));
        let mut in_leaf: FxHashMap<u64, usize> = FxHashMap::default();
        let mut in_both: FxHashMap<(u64, u64), usize> = FxHashMap::default();
        for gpu in group {
            *in_leaf.entry(places(gpu).1).or_default() += 1;
            *in_both.entry(places(gpu)).or_default() += 1;
        }
        let mut loads = Loads::default();
        let mut add = |kind, index, peers: usize| {
            if peers > 0 {
                loads.add(topology.link(kind, index), part * peers as f64);
            }
        };
        for domain in &layout.domains {
            let near = domain.ranks.len();
            for gpu in &domain.ranks {
                let (port, leaf) = (topology.port_of(*gpu), topology.leaf_of(*gpu));
                let far = layout.size + in_both[&places(gpu)] - near - in_leaf[&leaf];
                add(LinkKind::ScaleUpOut, gpu.0, near - 1);
                add(LinkKind::ScaleUpIn, gpu.0, near - 1);
                add(LinkKind::NetworkOut, port, layout.size - near);
                add(LinkKind::NetworkIn, port, layout.size - near);
                add(LinkKind::LeafUp, leaf, far);
                add(LinkKind::LeafDown, leaf, far);
            }
        }
        Some(vec![(round, loads)])
    }

    fn shares(&self, _group: &[GpuIndex], _topology: &Topology) -> Shares {
        Shares { scale_up: SHARE, ..Shares::default() }
    }
}

/// The round without its flows.
fn outline(collective: &Collective, layout: &Layout) -> Option<Round> {
    if collective.kind != CollectiveKind::AllToAll {
        return None;
    }
    let narrowest = layout.domains.iter().map(|one| one.ranks.len()).min().unwrap_or(0);
    let batches = |peers: usize| peers.div_ceil(PEERS_IN_FLIGHT) as f64;
    let steps = Steps {
        scale_up: batches(layout.widest - 1),
        network: batches(layout.size - narrowest),
        fixed: Seconds::ZERO,
    };
    let (fill, local) = (Fill::default(), Bytes::ZERO);
    Some(Round { repeat: 1, steps, fill, local, flows: Vec::new() })
}
