//! Where the ranks of a collective are, and those of its siblings.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::{GpuIndex, Topology};

/// Groups that run the same operation at the same time.
///
/// The first group is the one that is priced. The others are its siblings, which share links with
/// it: with tensor parallelism over 8 GPUs, eight data-parallel groups share a node's NICs.
#[derive(Clone, Debug)]
pub struct Placement {
    groups: Vec<Vec<GpuIndex>>,
    /// Hash of the groups, taken once: a placement is a key in caches.
    fingerprint: u64,
}

/// A summary of the first group of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Ranks.
    pub size: usize,
    /// Nodes that hold ranks.
    pub node_count: usize,
    /// Scale-up domains that hold ranks.
    pub domain_count: usize,
    /// Most ranks in a node.
    pub ranks_per_node: usize,
    /// Most ranks in a domain.
    pub ranks_per_domain: usize,
    /// Whether every domain that holds ranks holds equally many, and every node likewise.
    pub uniform: bool,
}

impl Placement {
    /// From the priced group and its siblings. The order within a group matters to send-receive
    /// only: first the sender, then the receiver.
    pub fn new(groups: Vec<Vec<GpuIndex>>) -> Self {
        let mut hasher = FxHasher::default();
        groups.hash(&mut hasher);
        Self { groups, fingerprint: hasher.finish() }
    }

    /// One group of GPUs, without siblings.
    pub fn alone(gpus: impl IntoIterator<Item = u64>) -> Self {
        Self::new(vec![gpus.into_iter().map(GpuIndex).collect()])
    }

    /// The priced group, then its siblings.
    pub fn groups(&self) -> &[Vec<GpuIndex>] {
        &self.groups
    }

    /// The priced group; empty if there is none.
    pub fn group(&self) -> &[GpuIndex] {
        self.groups.first().map_or(&[], Vec::as_slice)
    }

    /// The siblings of the priced group.
    pub fn siblings(&self) -> &[Vec<GpuIndex>] {
        self.groups.get(1..).unwrap_or_default()
    }

    /// A summary of the priced group.
    pub fn shape(&self, topology: &Topology) -> Shape {
        let group = self.group();
        let nodes = sorted_runs(group.iter().map(|gpu| topology.node_of(*gpu)));
        let domains = sorted_runs(group.iter().map(|gpu| topology.domain_of(*gpu)));
        let equal = |runs: &[usize]| runs.iter().all(|run| *run == runs[0]);
        Shape {
            size: group.len(),
            node_count: nodes.len(),
            domain_count: domains.len(),
            ranks_per_node: nodes.iter().copied().max().unwrap_or(0),
            ranks_per_domain: domains.iter().copied().max().unwrap_or(0),
            uniform: equal(&nodes) && equal(&domains),
        }
    }
}

/// How often each value occurs.
fn sorted_runs(values: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.chunk_by(|left, right| left == right).map(<[u64]>::len).collect()
}

impl PartialEq for Placement {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.groups == other.groups
    }
}

impl Eq for Placement {}

impl Hash for Placement {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::*;

    #[test]
    fn a_shape_counts_nodes_and_domains() {
        let topology = Topology::new(&cluster(4, ""));
        let even = Placement::alone([0, 1, 8, 9]).shape(&topology);
        assert_eq!((even.size, even.node_count, even.ranks_per_node), (4, 2, 2));
        assert!(even.uniform);
        assert!(!Placement::alone([0, 1, 8]).shape(&topology).uniform);
        assert_eq!(Placement::new(vec![]).shape(&topology).size, 0);
    }
}
