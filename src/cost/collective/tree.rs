//! The double binary tree: add up one way, send down the other, two trees with half each.
//!
//! Sanders, Speck and Träff 2009, as in NCCL (`src/graph/trees.cc`): a rank inside one tree is a
//! leaf of the other, so nobody sends more than `2 S`. Between domains it is a tree, within one a
//! chain from the GPU at the network port.

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Shares, Steps};
use super::layout::Layout;
use crate::topology::{GpuIndex, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// The double binary tree, for all-reduce across domains.
pub(super) struct Tree;

/// Share of the network's rate that the tree reaches: it meets 3 flows in a GPU where a ring meets
/// one. NCCL's tuner has 0.92 (`src/graph/tuning.cc`); with it and the NICs' own fraction 2 p4de
/// nodes come to the 42 GB/s of buffer that they reach (awslabs/awsome-distributed-ai).
const NETWORK_SHARE: f64 = 0.9;

/// Share of the ring's scale-up rate that a channel of the tree can use, of which there is one for
/// each network port. NCCL's tuner: 24 GB/s a channel on A100, where a ring moves 240
/// (`perChMaxTreeBws`; 0.11 on Hopper). This is why 2 nodes with 4 NICs of 200 Gbit/s run a ring
/// (48 GB/s of buffer, NVIDIA/nccl-tests issue 152) and with 4 of 100 a tree.
const CHANNEL_SHARE: f64 = 0.1;

/// Share of the network's rate where the trees between domains have inner nodes, as NCCL's tuner
/// has it for NVLSTree (`src/graph/tuning.cc`, `ncclTopoTuneModel`: five sixths). Large messages
/// among more than two domains run a ring: 96 H100, 32 B200 and the partitioned GB200 of
/// NVIDIA/nccl issue 1801 load their NICs to 97 % as a ring counts.
pub(super) fn inner_share(domain_count: usize) -> f64 {
    if domain_count > 2 { 5.0 / 6.0 } else { 1.0 }
}

/// Largest chunk of a channel (NCCL: a buffer of 4 MiB in 8 steps).
const CHANNEL_CHUNK: f64 = 512.0 * 1024.0;

impl CollectiveAlgorithm for Tree {
    fn name(&self) -> &'static str {
        "tree"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        let layout = Layout::new(group, topology);
        if collective.kind != CollectiveKind::AllReduce || layout.domains.len() < 2 {
            return None;
        }
        let (mut flows, trunk) = trunk(&layout, collective.bytes);
        // A chunk runs through the chains of two domains on its way up, and again down.
        let fill = Fill { scale_up_hops: 2.0 * (layout.widest - 1) as f64, ..trunk };
        let slice = collective.bytes / layout.channel_count as f64;
        for domain in &layout.domains {
            let ranks = &domain.ranks;
            // The chain of a channel starts at its gateway and runs through all ranks in order, so
            // it lacks one link of the circle: the one that ends at the gateway.
            let mut chains = vec![layout.channel_count; ranks.len()];
            for gateway in &domain.gateways[..layout.channel_count] {
                chains[(gateway + ranks.len() - 1) % ranks.len()] -= 1;
            }
            for (at, count) in chains.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                let next = ranks[(at + 1) % ranks.len()];
                flows.push(Flow::between(ranks[at], next, slice * count as f64));
                flows.push(Flow::between(next, ranks[at], slice * count as f64));
            }
        }
        let steps = Steps {
            scale_up: 2.0 * (layout.widest - 1) as f64,
            network: fill.hops,
            fixed: Seconds::ZERO,
        };
        Some(vec![Round { repeat: 1, steps, fill, local: Bytes::ZERO, flows }])
    }

    fn shares(&self, group: &[GpuIndex], topology: &Topology) -> Shares {
        let layout = Layout::new(group, topology);
        let channels = layout.channel_count as f64;
        Shares {
            scale_up: (CHANNEL_SHARE * channels).min(1.0),
            network: NETWORK_SHARE * inner_share(layout.domains.len()),
        }
    }
}

/// The flows of the two trees between domains, up and down, a pair of trees per channel, and the
/// pipeline that they are.
pub(super) fn trunk(layout: &Layout, bytes: Bytes) -> (Vec<Flow>, Fill) {
    let count = layout.domains.len();
    let channel = bytes / (2 * layout.channel_count) as f64;
    let mut flows = Vec::with_capacity(4 * count * layout.channel_count);
    for mirrored in [false, true] {
        for child in 0..count {
            let Some(parent) = parent_in(child, count, mirrored) else { continue };
            for index in 0..layout.channel_count {
                let gateway = |domain: usize| {
                    let domain = &layout.domains[domain];
                    domain.ranks[domain.gateways[index]]
                };
                flows.push(Flow::between(gateway(child), gateway(parent), channel));
                flows.push(Flow::between(gateway(parent), gateway(child), channel));
            }
        }
    }
    let deepest = (0..count).map(|at| depth(at, count)).max().unwrap_or(0);
    // A channel's part is halved between the two trees, and so is what a hop of both takes.
    let chunk = 2.0 * CHANNEL_CHUNK * layout.channel_count as f64;
    (flows, Fill { hops: 2.0 * deepest as f64, scale_up_hops: 0.0, chunk })
}

/// Parent in one of the two trees: the second is the first mirrored (an even count) or shifted by
/// one (odd), as NCCL's `ncclGetDtree`.
fn parent_in(rank: usize, count: usize, mirrored: bool) -> Option<usize> {
    if !mirrored {
        return parent(rank, count);
    }
    if count.is_multiple_of(2) {
        parent(count - 1 - rank, count).map(|up| count - 1 - up)
    } else {
        parent((rank + count - 1) % count, count).map(|up| (up + 1) % count)
    }
}

/// Parent in the binary tree whose leaves are the odd ranks; rank 0 is the root (`ncclGetBtree`).
fn parent(rank: usize, count: usize) -> Option<usize> {
    if rank == 0 {
        return None;
    }
    let bit = 1 << rank.trailing_zeros();
    let up = (rank ^ bit) | (bit << 1);
    Some(if up < count { up } else { rank ^ bit })
}

fn depth(rank: usize, count: usize) -> usize {
    std::iter::successors(Some(rank), |at| parent(*at, count)).count() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_reach_everyone_and_nobody_is_inside_both() {
        for count in 2..200 {
            for mirrored in [false, true] {
                for rank in 0..count {
                    let up = |at: &usize| parent_in(*at, count, mirrored);
                    let steps = std::iter::successors(Some(rank), up).take(count + 1).count();
                    assert!(steps <= (count as f64).log2() as usize + 2, "{rank} of {count}");
                }
            }
            let children = |of: usize, mirrored: bool| {
                (0..count).filter(|at| parent_in(*at, count, mirrored) == Some(of)).count()
            };
            for rank in 0..count {
                let (one, two) = (children(rank, false), children(rank, true));
                // The root has one child, so it may carry that much in both trees.
                assert!(one + two <= 3, "{rank} of {count}: {one} and {two} children");
            }
        }
    }
}
