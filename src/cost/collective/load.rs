//! How many bytes a round puts on each link.

use rustc_hash::FxHashMap;

use super::algorithm::Flow;
use crate::topology::{LinkId, LinkKind, Topology};

/// Bytes by link, of one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    bytes: FxHashMap<LinkId, f64>,
}

/// Seconds of the busiest link, by part of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Busy {
    /// Of the scale-up fabric.
    pub(super) scale_up: f64,
    /// Of the network, leaves and spine included.
    pub(super) network: f64,
    /// Whether some route leaves its leaf switch.
    pub(super) crosses_spine: bool,
}

impl Loads {
    /// What some flows put on the links of their routes.
    pub fn of_flows(flows: &[Flow], topology: &Topology) -> Self {
        let mut loads = Self::default();
        loads.bytes.reserve(2 * flows.len());
        let mut route = Vec::new();
        for flow in flows {
            route.clear();
            topology.route_into(flow.from, flow.to, &mut route);
            for link in &route {
                loads.add(*link, flow.bytes.value());
            }
        }
        loads
    }

    /// Puts bytes on a link.
    pub fn add(&mut self, link: LinkId, bytes: f64) {
        *self.bytes.entry(link).or_insert(0.0) += bytes;
    }

    /// Adds the loads of a sibling.
    pub fn merge(&mut self, other: &Self) {
        for (link, bytes) in &other.bytes {
            self.add(*link, *bytes);
        }
    }

    /// Bytes on a link.
    pub fn bytes(&self, link: LinkId) -> f64 {
        self.bytes.get(&link).copied().unwrap_or(0.0)
    }

    /// How long the busiest links take at their full rates.
    pub(super) fn busy(&self, topology: &Topology) -> Busy {
        let mut busy = Busy::default();
        for (link, bytes) in &self.bytes {
            let kind = topology.kind(*link).0;
            let seconds = bytes / topology.capacity(*link).value();
            if kind.is_scale_up() {
                busy.scale_up = busy.scale_up.max(seconds);
            } else {
                busy.network = busy.network.max(seconds);
                busy.crosses_spine |= kind == LinkKind::LeafUp;
            }
        }
        busy
    }

    /// How long the busiest node takes at the full rate of its members' share of its ports, given
    /// how many members each node has.
    pub(super) fn node_network(&self, members: &FxHashMap<u64, usize>, topology: &Topology) -> f64 {
        let mut by_node: FxHashMap<u64, (f64, f64)> = FxHashMap::default();
        // Sorted, since sums of floats depend on their order.
        let mut ports: Vec<(LinkId, f64)> =
            self.bytes.iter().map(|(link, bytes)| (*link, *bytes)).collect();
        ports.sort_unstable_by_key(|(link, _)| *link);
        for (link, bytes) in ports {
            let (kind, index) = topology.kind(link);
            let seconds = bytes / topology.capacity(link).value();
            let node = topology.node_of_port(index);
            match kind {
                LinkKind::NetworkOut => by_node.entry(node).or_default().0 += seconds,
                LinkKind::NetworkIn => by_node.entry(node).or_default().1 += seconds,
                _ => {}
            }
        }
        let ports = topology.ports_per_node() as f64 / topology.gpus_per_node() as f64;
        let share = |node: &u64| ports * members.get(node).copied().unwrap_or(1) as f64;
        by_node.iter().map(|(node, (out, into))| out.max(*into) / share(node)).fold(0.0, f64::max)
    }
}
