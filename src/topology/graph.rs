//! The machine drawn as a graph, for the nodes that are asked about.

use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use super::{GpuIndex, LinkId, LinkKind, Topology};

/// What stands at a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vertex {
    /// A GPU.
    Gpu(GpuIndex),
    /// The scale-up switch (or shared fabric) of a domain.
    Switch(u64),
    /// The way out of a GPU to its direct links.
    MeshOut(GpuIndex),
    /// The way in from the direct links of a GPU.
    MeshIn(GpuIndex),
    /// A network port, counted through the machine.
    Port(u64),
    /// A leaf switch group.
    Leaf(u64),
    /// The fabric above the leaves.
    Spine,
}

/// An edge: a link, or `None` for what joins a GPU and its NIC, whose cost the network's link has.
pub type Wire = Option<LinkId>;

struct Drawing<'a> {
    topology: &'a Topology,
    graph: DiGraph<Vertex, Wire>,
    known: FxHashMap<Vertex, NodeIndex>,
}

impl Drawing<'_> {
    fn vertex(&mut self, vertex: Vertex) -> NodeIndex {
        let graph = &mut self.graph;
        *self.known.entry(vertex).or_insert_with(|| graph.add_node(vertex))
    }

    /// Adds a link once.
    fn link(&mut self, from: Vertex, to: Vertex, kind: LinkKind, index: u64) {
        let (from, to) = (self.vertex(from), self.vertex(to));
        let link = self.topology.link(kind, index);
        if !self.graph.edges_connecting(from, to).any(|edge| *edge.weight() == Some(link)) {
            self.graph.add_edge(from, to, Some(link));
        }
    }

    fn node(&mut self, node: u64) {
        let topology = self.topology;
        for local in 0..topology.gpus_per_node {
            let gpu = GpuIndex(node * topology.gpus_per_node + local);
            let (out, into) = if topology.direct {
                (Vertex::MeshOut(gpu), Vertex::MeshIn(gpu))
            } else {
                let switch = Vertex::Switch(topology.domain_of(gpu));
                (switch, switch)
            };
            self.link(Vertex::Gpu(gpu), out, LinkKind::ScaleUpOut, gpu.0);
            self.link(into, Vertex::Gpu(gpu), LinkKind::ScaleUpIn, gpu.0);
            let port = topology.port_of(gpu);
            let ends = (self.vertex(Vertex::Gpu(gpu)), self.vertex(Vertex::Port(port)));
            self.graph.add_edge(ends.0, ends.1, None);
            self.graph.add_edge(ends.1, ends.0, None);
            let leaf = topology.leaf_of_port(port);
            self.link(Vertex::Port(port), Vertex::Leaf(leaf), LinkKind::NetworkOut, port);
            self.link(Vertex::Leaf(leaf), Vertex::Port(port), LinkKind::NetworkIn, port);
            self.link(Vertex::Leaf(leaf), Vertex::Spine, LinkKind::LeafUp, leaf);
            self.link(Vertex::Spine, Vertex::Leaf(leaf), LinkKind::LeafDown, leaf);
        }
    }

    /// The direct links among the GPUs drawn so far.
    fn mesh(&mut self, gpus: &[GpuIndex]) {
        let topology = self.topology;
        for &from in gpus {
            for &to in gpus {
                if from != to && topology.domain_of(from) == topology.domain_of(to) {
                    let index = from.0 * topology.domain_size + to.0 % topology.domain_size;
                    let ends = (Vertex::MeshOut(from), Vertex::MeshIn(to));
                    self.link(ends.0, ends.1, LinkKind::Direct, index);
                }
            }
        }
    }
}

impl Topology {
    /// The part of the machine that some nodes and the switches over them make up.
    ///
    /// Panics if a node is not in the machine.
    pub fn graph(&self, nodes: &[u64]) -> DiGraph<Vertex, Wire> {
        let known = FxHashMap::default();
        let mut drawing = Drawing { topology: self, graph: DiGraph::new(), known };
        for &node in nodes {
            assert!(node * self.gpus_per_node < self.gpu_count, "node {node} is not there");
            drawing.node(node);
        }
        if self.direct {
            let each = |node: &u64| {
                let first = node * self.gpus_per_node;
                (first..first + self.gpus_per_node).map(GpuIndex)
            };
            let gpus: Vec<GpuIndex> = nodes.iter().flat_map(each).collect();
            drawing.mesh(&gpus);
        }
        drawing.graph
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::*;
    use petgraph::algo::astar;
    use petgraph::visit::EdgeRef;

    fn shortest(
        topology: &Topology,
        graph: &DiGraph<Vertex, Wire>,
        ends: [GpuIndex; 2],
    ) -> Vec<LinkId> {
        let find = |gpu| graph.node_indices().find(|at| graph[*at] == Vertex::Gpu(gpu)).unwrap();
        let cost = |wire: &Wire| wire.map_or(0.0, |link| topology.latency(link).value()) + 1e-12;
        let target = find(ends[1]);
        let (_, path) =
            astar(graph, find(ends[0]), |at| at == target, |edge| cost(edge.weight()), |_| 0.0)
                .unwrap();
        let edge = |pair: &[NodeIndex]| {
            let edges = graph.edges_connecting(pair[0], pair[1]);
            edges.filter_map(|edge| *graph.edge_weight(edge.id()).unwrap()).next()
        };
        path.windows(2).filter_map(edge).collect()
    }

    #[test]
    fn a_route_is_the_path_of_least_latency() {
        let mesh = "scale_up_switched = false\nnics_per_node = 4\nnodes_per_leaf = 2";
        let rack = "gpus_per_node = 4\nscale_up_domain_size = 8\nnodes_per_leaf = 2";
        for (overrides, vendor) in [("", "nvidia"), (mesh, "amd"), (mesh, "nvidia"), (rack, "x")] {
            let mut cluster = cluster(6, overrides);
            vendor.clone_into(&mut cluster.gpu.vendor);
            let topology = Topology::new(&cluster);
            let nodes: Vec<u64> = (0..6).collect();
            let graph = topology.graph(&nodes);
            for from in (0..topology.gpu_count()).map(GpuIndex) {
                for to in (0..topology.gpu_count()).map(GpuIndex) {
                    // Two GPUs behind one port meet at the port; the fabric is a route of its own.
                    if topology.port_of(from) == topology.port_of(to) {
                        continue;
                    }
                    let expected = shortest(&topology, &graph, [from, to]);
                    assert_eq!(topology.route(from, to), expected, "{from:?} {to:?} {overrides}");
                }
            }
        }
    }
}
