//! A group as algorithms see it: ranks by scale-up domain, and those that stand at a network port.

use crate::topology::{GpuIndex, Topology};

/// Network ports of a domain that carry channels at most: 1,440 GB200 in domains of 72, with a NIC
/// each, all-reduce at 215 GB/s of buffer (coreweave/nccl-tests@cb86553), a ring of 430 GB/s, which
/// is what 9 NICs of 400 Gbit/s carry.
const CHANNELS_MAX: usize = 9;

/// The ranks of a group in one domain, in machine order.
pub(super) struct Domain {
    /// The domain's number.
    pub(super) index: u64,
    /// The ranks.
    pub(super) ranks: Vec<GpuIndex>,
    /// For each network port of the ranks, the position of the first rank behind it.
    pub(super) gateways: Vec<usize>,
}

/// A group by domain.
pub(super) struct Layout {
    /// The domains, in machine order.
    pub(super) domains: Vec<Domain>,
    /// Ranks in all.
    pub(super) size: usize,
    /// Channels that can cross the network side by side: the fewest ports that a domain offers.
    pub(super) channel_count: usize,
    /// Most ranks in a domain.
    pub(super) widest: usize,
}

impl Layout {
    pub(super) fn new(group: &[GpuIndex], topology: &Topology) -> Self {
        let mut ranks = group.to_vec();
        ranks.sort_unstable();
        let same = |left: &GpuIndex, right: &GpuIndex| {
            topology.domain_of(*left) == topology.domain_of(*right)
        };
        let domains: Vec<Domain> = ranks
            .chunk_by(same)
            .map(|ranks| Domain {
                index: topology.domain_of(ranks[0]),
                gateways: gateways(ranks, topology),
                ranks: ranks.to_vec(),
            })
            .collect();
        Self {
            size: ranks.len(),
            channel_count: domains
                .iter()
                .map(|one| one.gateways.len())
                .min()
                .unwrap_or(1)
                .min(CHANNELS_MAX),
            widest: domains.iter().map(|one| one.ranks.len()).max().unwrap_or(0),
            domains,
        }
    }
}

fn gateways(ranks: &[GpuIndex], topology: &Topology) -> Vec<usize> {
    let port = |at: usize| topology.port_of(ranks[at]);
    (0..ranks.len()).filter(|&at| at == 0 || port(at) != port(at - 1)).collect()
}
