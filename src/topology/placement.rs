//! Groups of GPUs that communicate at the same time.

use crate::spec::Cluster;

/// A GPU of the cluster, counted node by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuIndex(pub u32);

/// Groups that run the same operation at the same time; the first is the one that is asked about,
/// the others share its links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    groups: Vec<Vec<GpuIndex>>,
}

impl Placement {
    /// From the groups.
    ///
    /// # Panics
    ///
    /// Without a group, or with an empty one.
    pub fn new(groups: Vec<Vec<GpuIndex>>) -> Self {
        assert!(!groups.is_empty() && groups.iter().all(|group| !group.is_empty()));
        Self { groups }
    }

    /// All groups.
    pub fn groups(&self) -> &[Vec<GpuIndex>] {
        &self.groups
    }

    /// The group that is asked about.
    pub fn own(&self) -> &[GpuIndex] {
        &self.groups[0]
    }
}

/// How a group lies on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Ranks.
    pub size: u64,
    /// Scale-up domains that it touches.
    pub domain_count: u64,
    /// Most ranks in one domain.
    pub ranks_per_domain: u64,
}

impl Shape {
    pub(super) fn new(cluster: &Cluster, group: &[GpuIndex]) -> Self {
        let domain = |gpu: &GpuIndex| u64::from(gpu.0) / cluster.domain_size();
        let mut domains: Vec<u64> = group.iter().map(domain).collect();
        domains.sort_unstable();
        let ranks_per_domain =
            domains.chunk_by(|one, other| one == other).map(<[u64]>::len).max().unwrap_or(0) as u64;
        domains.dedup();
        Self { size: group.len() as u64, domain_count: domains.len() as u64, ranks_per_domain }
    }
}
