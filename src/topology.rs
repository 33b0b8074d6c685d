//! The machine as a graph: GPUs, the scale-up fabric of a domain, NICs, leaf switches and a spine.
//!
//! Links are directed and numbered by arithmetic, so that a machine of any size costs nothing to
//! set up and a route is found without a search. [`Topology::graph`] draws the same machine as a
//! graph, for the nodes that are asked about; there the routes are shortest paths.

mod graph;
mod link;
mod placement;

pub use graph::{Vertex, Wire};
pub use link::{GpuIndex, LinkId, LinkKind};
pub use placement::{Placement, Shape};

use crate::spec::Cluster;
use crate::units::{BytesPerSecond, Seconds};

/// All-reduce in the switch over the rate of a ring where a cluster does not say: 272 over 367 GB/s
/// of 8 H100 (stas00/ml-engineering@744d01e network/README).
const IN_SWITCH_SHARE: f64 = 0.74;

/// Largest operation that goes out without a rendezvous, on NICs that have one: an all-reduce of
/// 16 H100 on EFA takes 69 to 79 us up to 4 KiB and 109 to 135 from 32 KiB to 1 MiB
/// (awslabs/awsome-distributed-ai@95b939c).
const EAGER_MAX: f64 = 8.0 * 1024.0;

/// Where a flow starts or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// A GPU.
    Gpu(GpuIndex),
    /// The scale-up switch of a domain, which can reduce and multicast.
    Switch(u64),
}

/// The machine: what is linked to what, at which rate and latency.
///
/// Rates are achievable ones: the bandwidth of the cluster's file times its fraction.
#[derive(Clone, Debug)]
pub struct Topology {
    gpus_per_node: u64,
    domain_size: u64,
    /// Independent ports to the network in a node: its NICs, or its GPUs where there are more NICs.
    ports_per_node: u64,
    nodes_per_leaf: u64,
    gpu_count: u64,
    port_count: u64,
    leaf_count: u64,
    /// Every pair of GPUs of a domain has a link of its own.
    direct: bool,
    in_switch_reduction: bool,
    in_switch_share: f64,
    scale_up: BytesPerSecond,
    scale_up_latency: Seconds,
    port: BytesPerSecond,
    network_latency: Seconds,
    rendezvous_latency: Seconds,
    uplink: BytesPerSecond,
    spine_latency: Seconds,
    memory_bandwidth: BytesPerSecond,
}

impl Topology {
    /// The machine of a cluster's file. Costs the same for any number of nodes.
    ///
    /// Without a switch the GPUs of a domain are a full mesh of direct links on AMD (XGMI), and
    /// ports to a shared fabric elsewhere (PCIe). Without NICs the network has no bandwidth, and
    /// crossing it takes for ever.
    pub fn new(cluster: &Cluster) -> Self {
        let gpus_per_node = cluster.gpus_per_node.max(1);
        let node_count = cluster.node_count.max(1);
        let nodes_per_leaf = cluster.nodes_per_leaf.clamp(1, node_count);
        let ports_per_node = cluster.nics_per_node.clamp(1, gpus_per_node);
        let nic = cluster.nic_bandwidth * cluster.nic_fraction;
        let node_network = nic * cluster.nics_per_node as f64;
        Self {
            gpus_per_node,
            domain_size: cluster.scale_up_domain_size.unwrap_or(0).max(gpus_per_node),
            ports_per_node,
            nodes_per_leaf,
            gpu_count: gpus_per_node.saturating_mul(node_count),
            port_count: ports_per_node.saturating_mul(node_count),
            leaf_count: node_count.div_ceil(nodes_per_leaf),
            direct: !cluster.scale_up_switched && cluster.gpu.vendor == "amd",
            in_switch_reduction: cluster.in_switch_reduction && cluster.scale_up_switched,
            in_switch_share: cluster
                .in_switch_fraction
                .map_or(IN_SWITCH_SHARE, |fraction| fraction / cluster.scale_up_fraction),
            scale_up: cluster.scale_up_bandwidth * cluster.scale_up_fraction,
            scale_up_latency: cluster.scale_up_latency,
            port: node_network / ports_per_node as f64,
            network_latency: cluster.network_latency,
            rendezvous_latency: cluster.rendezvous_latency,
            uplink: node_network * nodes_per_leaf as f64 * cluster.spine_fraction,
            spine_latency: cluster.spine_latency,
            memory_bandwidth: cluster.gpu.memory_bandwidth,
        }
    }

    /// GPUs of the machine.
    pub fn gpu_count(&self) -> u64 {
        self.gpu_count
    }

    /// GPUs of a node.
    pub fn gpus_per_node(&self) -> u64 {
        self.gpus_per_node
    }

    /// Ports of a node to the network.
    pub fn ports_per_node(&self) -> u64 {
        self.ports_per_node
    }

    /// Peak memory bandwidth of a GPU.
    pub fn memory_bandwidth(&self) -> BytesPerSecond {
        self.memory_bandwidth
    }

    /// Time of a hop between two GPUs of a domain.
    pub fn scale_up_latency(&self) -> Seconds {
        self.scale_up_latency
    }

    /// Time of a hop between two nodes, under one leaf switch or over the spine, for an operation
    /// on some bytes.
    pub fn network_latency(&self, over_spine: bool, bytes: f64) -> Seconds {
        let spine = if over_spine { self.spine_latency } else { Seconds::ZERO };
        let agree = if bytes > EAGER_MAX { self.rendezvous_latency } else { Seconds::ZERO };
        self.network_latency + spine + agree
    }

    /// Whether the scale-up switch can add what passes through it.
    pub fn reduces_in_switch(&self) -> bool {
        self.in_switch_reduction
    }

    /// Buffer that an all-reduce in the switch gets done in a second, over the rate of a port.
    pub fn in_switch_share(&self) -> f64 {
        self.in_switch_share
    }

    /// Whether each pair of GPUs of a domain has a link of its own.
    pub fn is_direct_mesh(&self) -> bool {
        self.direct
    }

    /// The node that holds a GPU.
    pub fn node_of(&self, gpu: GpuIndex) -> u64 {
        gpu.0 / self.gpus_per_node
    }

    /// The scale-up domain that holds a GPU.
    pub fn domain_of(&self, gpu: GpuIndex) -> u64 {
        gpu.0 / self.domain_size
    }

    /// The network port (counted through the machine) through which a GPU reaches other nodes:
    /// the `local * ports / gpus`-th of its node.
    pub fn port_of(&self, gpu: GpuIndex) -> u64 {
        let local = gpu.0 % self.gpus_per_node;
        self.node_of(gpu) * self.ports_per_node + local * self.ports_per_node / self.gpus_per_node
    }

    /// The leaf switch group over a GPU's node.
    pub fn leaf_of(&self, gpu: GpuIndex) -> u64 {
        self.leaf_of_port(self.port_of(gpu))
    }

    /// The leaf switch group over a network port.
    fn leaf_of_port(&self, port: u64) -> u64 {
        port / self.ports_per_node / self.nodes_per_leaf
    }

    /// The links from a GPU to another, in order; none from a GPU to itself.
    ///
    /// Within a domain over the scale-up fabric, else over the ports of both. Panics if a GPU is
    /// not in the machine.
    pub fn route(&self, from: GpuIndex, to: GpuIndex) -> Vec<LinkId> {
        let mut links = Vec::with_capacity(4);
        self.route_into(Device::Gpu(from), Device::Gpu(to), &mut links);
        links
    }

    /// As [`Self::route`], between any two devices, appended to `links`.
    pub fn route_into(&self, from: Device, to: Device, links: &mut Vec<LinkId>) {
        for device in [from, to] {
            if let Device::Gpu(gpu) = device {
                assert!(gpu.0 < self.gpu_count, "GPU {} of {}", gpu.0, self.gpu_count);
            }
        }
        match (from, to) {
            (Device::Gpu(from), Device::Gpu(to)) if from == to => {}
            (Device::Gpu(from), Device::Gpu(to)) if self.domain_of(from) == self.domain_of(to) => {
                links.push(self.link(LinkKind::ScaleUpOut, from.0));
                if self.direct {
                    let peer = from.0 * self.domain_size + to.0 % self.domain_size;
                    links.push(self.link(LinkKind::Direct, peer));
                }
                links.push(self.link(LinkKind::ScaleUpIn, to.0));
            }
            (Device::Gpu(from), Device::Gpu(to)) => {
                let (port_out, port_in) = (self.port_of(from), self.port_of(to));
                let (leaf_out, leaf_in) = (self.leaf_of_port(port_out), self.leaf_of_port(port_in));
                links.push(self.link(LinkKind::NetworkOut, port_out));
                if leaf_out != leaf_in {
                    links.push(self.link(LinkKind::LeafUp, leaf_out));
                    links.push(self.link(LinkKind::LeafDown, leaf_in));
                }
                links.push(self.link(LinkKind::NetworkIn, port_in));
            }
            (Device::Gpu(gpu), Device::Switch(_)) => {
                links.push(self.link(LinkKind::ScaleUpOut, gpu.0));
            }
            (Device::Switch(_), Device::Gpu(gpu)) => {
                links.push(self.link(LinkKind::ScaleUpIn, gpu.0));
            }
            (Device::Switch(_), Device::Switch(_)) => {}
        }
    }

    /// Time of the first bit along some links.
    pub fn route_latency(&self, links: &[LinkId]) -> Seconds {
        links.iter().map(|link| self.latency(*link)).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A cluster with round numbers: 100 GB/s scale-up and 10 GB/s a NIC.
    pub(crate) fn cluster(node_count: u64, overrides: &str) -> Cluster {
        let gpu = r#"
            name = "test"
            vendor = "nvidia"
            architecture = "hopper"
            memory = "80 GB"
            memory_bandwidth = "1 TB/s"
            memory_bandwidth_fraction = 0.9
            sm_count = 132
            l2_cache = "50 MB"
            peak_fp32 = "67 TFLOP/s"
            peak_fp16 = "989 TFLOP/s"
            gemm_fraction = 0.7
            attention_forward_fraction = 0.6
            attention_backward_fraction = 0.5
            kernel_floor = "2 us"
            launch_latency = "5 us"
            tdp = "700 W""#;
        let rest = r#"
            name = "test"
            gpus_per_node = 8
            scale_up_bandwidth = "100 GB/s"
            scale_up_fraction = 1.0
            scale_up_latency = "1 us"
            scale_up_switched = true
            nics_per_node = 8
            nic_bandwidth = "10 GB/s"
            nic_fraction = 1.0
            network_latency = "10 us"
            spine_latency = "2 us"
            nodes_per_leaf = 4
            host_bandwidth = "50 GB/s""#;
        let mut table: toml::Table = toml::from_str(rest).unwrap();
        let own: toml::Table = toml::from_str(overrides).unwrap();
        table.insert("node_count".to_owned(), (node_count as i64).into());
        table.insert("gpu".to_owned(), toml::from_str::<toml::Value>(gpu).unwrap());
        table.extend(own);
        let text = toml::to_string(&table).unwrap();
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_route_stays_in_the_domain_then_under_the_leaf() {
        let topology = Topology::new(&cluster(8, ""));
        let kinds = |from, to| -> Vec<LinkKind> {
            let route = topology.route(GpuIndex(from), GpuIndex(to));
            route.into_iter().map(|link| topology.kind(link).0).collect()
        };
        use LinkKind::{LeafDown, LeafUp, NetworkIn, NetworkOut, ScaleUpIn, ScaleUpOut};
        assert_eq!(kinds(3, 3), []);
        assert_eq!(kinds(0, 7), [ScaleUpOut, ScaleUpIn]);
        assert_eq!(kinds(0, 8), [NetworkOut, NetworkIn]);
        assert_eq!(kinds(0, 32), [NetworkOut, LeafUp, LeafDown, NetworkIn]);
        let far = topology.route(GpuIndex(0), GpuIndex(32));
        assert!((topology.route_latency(&far).us() - 12.0).abs() < 1e-9);
    }

    #[test]
    fn gpus_share_a_nic_or_bundle_several() {
        // 4 NICs for 8 GPUs: neighbours share one. 16 NICs: each GPU has a bundle of two.
        let few = Topology::new(&cluster(2, "nics_per_node = 4"));
        assert_eq!(few.port_of(GpuIndex(2)), few.port_of(GpuIndex(3)));
        assert_eq!(few.port_of(GpuIndex(15)), 7);
        let many = Topology::new(&cluster(2, "nics_per_node = 16"));
        assert_eq!(many.port_of(GpuIndex(9)), 9);
        let route = many.route(GpuIndex(0), GpuIndex(9));
        assert!((many.capacity(route[0]).value() - 20e9).abs() < 1.0);
    }

    #[test]
    fn a_spine_may_be_narrower_than_the_leaves() {
        let topology = Topology::new(&cluster(8, "spine_fraction = 0.25"));
        let route = topology.route(GpuIndex(0), GpuIndex(63));
        // 4 nodes * 8 NICs * 10 GB/s * 0.25 = 80 GB/s.
        assert!((topology.capacity(route[1]).value() - 80e9).abs() < 1.0);
    }
}
