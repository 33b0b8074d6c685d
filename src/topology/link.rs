//! Links by number: kinds one after the other, each kind in machine order.

use super::Topology;
use crate::units::{BytesPerSecond, Seconds};

/// A GPU, counted through the machine: node by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuIndex(pub u64);

/// A directed link of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

/// What a link is; the number beside it in [`Topology::kind`] counts within the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// From a GPU into the scale-up fabric; carries the fabric's latency.
    ScaleUpOut,
    /// From the scale-up fabric into a GPU.
    ScaleUpIn,
    /// From a node's port into its leaf switch; carries the network's latency.
    NetworkOut,
    /// From a leaf switch into a node's port.
    NetworkIn,
    /// From a leaf switch group into the spine; carries the spine's latency.
    LeafUp,
    /// From the spine into a leaf switch group.
    LeafDown,
    /// Between two GPUs of a directly meshed domain: `from * domain size + to within the domain`.
    Direct,
}

impl LinkKind {
    /// All kinds, in the order of their numbers.
    const ALL: [Self; 7] = [
        Self::ScaleUpOut,
        Self::ScaleUpIn,
        Self::NetworkOut,
        Self::NetworkIn,
        Self::LeafUp,
        Self::LeafDown,
        Self::Direct,
    ];

    /// Whether links of this kind belong to the scale-up fabric.
    pub const fn is_scale_up(self) -> bool {
        matches!(self, Self::ScaleUpOut | Self::ScaleUpIn | Self::Direct)
    }
}

impl Topology {
    /// How many links of a kind the machine has.
    fn count(&self, kind: LinkKind) -> u64 {
        match kind {
            LinkKind::ScaleUpOut | LinkKind::ScaleUpIn => self.gpu_count,
            LinkKind::NetworkOut | LinkKind::NetworkIn => self.port_count,
            LinkKind::LeafUp | LinkKind::LeafDown => self.leaf_count,
            LinkKind::Direct if self.direct => self.gpu_count.saturating_mul(self.domain_size),
            LinkKind::Direct => 0,
        }
    }

    /// The number of a link from its kind and its number within the kind.
    pub fn link(&self, kind: LinkKind, index: u64) -> LinkId {
        let before = LinkKind::ALL.iter().take_while(|other| **other != kind);
        LinkId(before.map(|other| self.count(*other)).sum::<u64>() + index)
    }

    /// What a link is, and its number within the kind.
    pub fn kind(&self, link: LinkId) -> (LinkKind, u64) {
        let mut index = link.0;
        for kind in LinkKind::ALL {
            let count = self.count(kind);
            if index < count {
                return (kind, index);
            }
            index -= count;
        }
        unreachable!("link {} is of another machine", link.0)
    }

    /// Achievable rate of a link.
    pub fn capacity(&self, link: LinkId) -> BytesPerSecond {
        match self.kind(link).0 {
            LinkKind::ScaleUpOut | LinkKind::ScaleUpIn => self.scale_up,
            LinkKind::NetworkOut | LinkKind::NetworkIn => self.port,
            LinkKind::LeafUp | LinkKind::LeafDown => self.uplink,
            LinkKind::Direct => self.scale_up / (self.domain_size.max(2) - 1) as f64,
        }
    }

    /// Time that a link adds to a route. One link of each hop carries the hop's whole latency.
    pub fn latency(&self, link: LinkId) -> Seconds {
        match self.kind(link).0 {
            LinkKind::ScaleUpOut => self.scale_up_latency,
            LinkKind::NetworkOut => self.network_latency,
            LinkKind::LeafUp => self.spine_latency,
            _ => Seconds::ZERO,
        }
    }

    /// The node of a network port.
    pub fn node_of_port(&self, port: u64) -> u64 {
        port / self.ports_per_node
    }
}
