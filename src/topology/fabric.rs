//! The graph of the part of a machine that is in use.

use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use rustc_hash::FxHashMap;

use super::{GpuIndex, Placement};
use crate::spec::Cluster;
use crate::units::{BytesPerSecond, Seconds};

/// A vertex of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A GPU.
    Gpu(GpuIndex),
    /// What joins the GPUs of a scale-up domain: NVLink switches, a full mesh, a PCIe tree.
    ScaleUp {
        /// Index of the domain.
        domain: u64,
    },
    /// A network card.
    Nic {
        /// Node.
        node: u64,
        /// Card of that node.
        card: u64,
    },
    /// A leaf switch: one for each card number under a group of nodes (rail-optimised).
    Leaf {
        /// Group of nodes.
        group: u64,
        /// Card number.
        rail: u64,
    },
    /// Everything above the leaves.
    Spine,
}

/// A directed link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// What large messages reach.
    pub capacity: BytesPerSecond,
}

/// The way from one GPU to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    links: [EdgeIndex; 6],
    length: usize,
    /// Whether it leaves the scale-up domain.
    pub crosses_network: bool,
    /// Whether it leaves the leaf switch.
    pub crosses_spine: bool,
    /// Time of its hops, beside what protocols add.
    pub latency: Seconds,
}

impl Route {
    /// Its links in order.
    pub fn links(&self) -> &[EdgeIndex] {
        &self.links[..self.length]
    }
}

/// The graph.
#[derive(Clone, Debug)]
pub struct Fabric {
    graph: DiGraph<Device, Link>,
    ports: FxHashMap<GpuIndex, GpuPorts>,
    /// Up and down links of each leaf.
    leaves: FxHashMap<(u64, u64), [EdgeIndex; 2]>,
    domain_size: u64,
    gpus_per_node: u64,
    nodes_per_leaf: u64,
    latencies: [Seconds; 3],
}

/// Links of a GPU: to and from its scale-up domain, its card, and the card's leaf.
#[derive(Clone, Copy, Debug)]
struct GpuPorts {
    scale_up: [EdgeIndex; 2],
    host: [EdgeIndex; 2],
    network: [EdgeIndex; 2],
    card: u64,
}

impl Fabric {
    pub(super) fn new(cluster: &Cluster, placement: &Placement) -> Self {
        let mut fabric = Self {
            graph: DiGraph::new(),
            ports: FxHashMap::default(),
            leaves: FxHashMap::default(),
            domain_size: cluster.domain_size(),
            gpus_per_node: cluster.gpus_per_node,
            nodes_per_leaf: cluster.nodes_per_leaf.max(1),
            latencies: [cluster.scale_up_latency, cluster.network_latency, cluster.spine_latency],
        };
        let mut vertices: FxHashMap<Device, NodeIndex> = FxHashMap::default();
        let mut cards: FxHashMap<(u64, u64), [EdgeIndex; 2]> = FxHashMap::default();
        for &gpu in placement.groups().iter().flatten() {
            if !fabric.ports.contains_key(&gpu) {
                fabric.add_gpu(cluster, gpu, &mut vertices, &mut cards);
            }
        }
        fabric
    }

    fn vertex(&mut self, vertices: &mut FxHashMap<Device, NodeIndex>, device: Device) -> NodeIndex {
        *vertices.entry(device).or_insert_with(|| self.graph.add_node(device))
    }

    fn connect(
        &mut self,
        one: NodeIndex,
        other: NodeIndex,
        capacity: BytesPerSecond,
    ) -> [EdgeIndex; 2] {
        let link = Link { capacity };
        [self.graph.add_edge(one, other, link), self.graph.add_edge(other, one, link)]
    }

    fn add_gpu(
        &mut self,
        cluster: &Cluster,
        gpu: GpuIndex,
        vertices: &mut FxHashMap<Device, NodeIndex>,
        cards: &mut FxHashMap<(u64, u64), [EdgeIndex; 2]>,
    ) {
        let index = u64::from(gpu.0);
        let (node, place) = (index / cluster.gpus_per_node, index % cluster.gpus_per_node);
        let vertex = self.vertex(vertices, Device::Gpu(gpu));
        let domain = self.vertex(vertices, Device::ScaleUp { domain: index / self.domain_size });
        let scale_up = cluster.scale_up_bandwidth * cluster.scale_up_fraction;
        let scale_up = self.connect(vertex, domain, scale_up);
        // GPUs of a node share its cards evenly; a node without cards has a link to nowhere that
        // no route of a single node takes.
        let card = place * cluster.nics_per_node / cluster.gpus_per_node;
        let nic = self.vertex(vertices, Device::Nic { node, card });
        let host = self.connect(vertex, nic, cluster.host_bandwidth);
        let network = match cards.get(&(node, card)) {
            Some(&links) => links,
            None => {
                let (group, rail) = (node / self.nodes_per_leaf, card);
                let leaf = self.vertex(vertices, Device::Leaf { group, rail });
                let rate = cluster.nic_bandwidth * cluster.nic_fraction;
                let links = self.connect(nic, leaf, rate);
                cards.insert((node, card), links);
                if !self.leaves.contains_key(&(group, rail)) {
                    let spine = self.vertex(vertices, Device::Spine);
                    let up = rate * (self.nodes_per_leaf as f64 * cluster.spine_fraction);
                    let links = self.connect(leaf, spine, up);
                    self.leaves.insert((group, rail), links);
                }
                links
            }
        };
        self.ports.insert(gpu, GpuPorts { scale_up, host, network, card });
    }

    /// The graph itself.
    pub fn graph(&self) -> &DiGraph<Device, Link> {
        &self.graph
    }

    /// The way from one GPU to another of the placement: through the scale-up domain, or from card
    /// to card through leaf and, where they differ, spine.
    ///
    /// # Panics
    ///
    /// For a GPU that is not of the placement.
    pub fn route(&self, from: GpuIndex, to: GpuIndex) -> Route {
        let (start, end) = (&self.ports[&from], &self.ports[&to]);
        let [scale_up_latency, network_latency, spine_latency] = self.latencies;
        let mut links = [EdgeIndex::default(); 6];
        let domain = |gpu: GpuIndex| u64::from(gpu.0) / self.domain_size;
        if domain(from) == domain(to) {
            links[..2].copy_from_slice(&[start.scale_up[0], end.scale_up[1]]);
            return Route {
                links,
                length: 2,
                crosses_network: false,
                crosses_spine: false,
                latency: scale_up_latency,
            };
        }
        links[..2].copy_from_slice(&[start.host[0], start.network[0]]);
        let leaf = |gpu: GpuIndex, ports: &GpuPorts| {
            (u64::from(gpu.0) / self.gpus_per_node / self.nodes_per_leaf, ports.card)
        };
        let (source, target) = (leaf(from, start), leaf(to, end));
        let mut length = 2;
        if source != target {
            links[2] = self.leaves[&source][0];
            links[3] = self.leaves[&target][1];
            length = 4;
        }
        links[length] = end.network[1];
        links[length + 1] = end.host[1];
        Route {
            links,
            length: length + 2,
            crosses_network: true,
            crosses_spine: source != target,
            latency: network_latency + if source != target { spine_latency } else { Seconds::ZERO },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use petgraph::algo::dijkstra;

    fn cluster() -> Cluster {
        let data = crate::spec::DataSources::shipped();
        let scenario = crate::spec::load_text(
            &data,
            "test.toml",
            "model = 'llama3-8b'\nstack = 'megatron-core'\n\
             cluster = { base = 'dgx-h100-ndr', node_count = 80 }\n\
             [training]\nsequence_length = 8192\nmicro_batch = 1\nglobal_batch = 640\n\
             precision = 'bf16'\n",
            &[],
        );
        scenario.unwrap().cluster
    }

    #[test]
    fn routes_are_paths_of_the_graph_and_as_short_as_any() {
        let cluster = cluster();
        let gpus: Vec<GpuIndex> = [0, 3, 9, 8 * 70, 8 * 70 + 3].map(GpuIndex).to_vec();
        let fabric = Fabric::new(&cluster, &Placement::new(vec![gpus.clone()]));
        let graph = fabric.graph();
        let vertex =
            |gpu: GpuIndex| graph.node_indices().find(|&it| graph[it] == Device::Gpu(gpu)).unwrap();
        for &from in &gpus {
            for &to in gpus.iter().filter(|&&to| to != from) {
                let route = fabric.route(from, to);
                let mut at = vertex(from);
                for &link in route.links() {
                    let (start, end) = graph.edge_endpoints(link).unwrap();
                    assert_eq!(start, at);
                    at = end;
                }
                assert_eq!(at, vertex(to));
                if from.0 / 8 == to.0 / 8 {
                    let hops = dijkstra(graph, vertex(from), Some(vertex(to)), |_| 1);
                    assert_eq!(route.links().len(), hops[&vertex(to)]);
                }
            }
        }
    }
}
