//! TEMPORARY closed forms until the rounds-of-flows book is merged.
use crate::spec::Fit;
use crate::topology::{Placement, Topology};
use crate::units::{BytesPerSecond, Seconds};
use crate::work::{Collective, CollectiveKind};

/// Price of a collective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CollectivePrice {
    /// Time.
    pub time: Seconds,
    /// Share of the scale-up port.
    pub scale_up_fraction: f64,
    /// Share of the network.
    pub network_fraction: f64,
}

/// Prices of collectives.
#[derive(Clone, Debug)]
pub struct CollectiveBook<'a> {
    topology: Topology<'a>,
    factor: f64,
}

impl<'a> CollectiveBook<'a> {
    /// A book.
    pub fn new(topology: &Topology<'a>, fit: &Fit) -> Self {
        Self { topology: *topology, factor: fit.network_factor }
    }

    /// A price.
    pub fn price(&self, collective: &Collective, placement: &Placement) -> CollectivePrice {
        let c = self.topology.cluster();
        let shape = self.topology.shape(placement.own());
        let n = shape.size as f64;
        let up = c.scale_up_bandwidth * c.scale_up_fraction;
        let nic = c.nic_bandwidth * c.nic_fraction;
        let node_rate = nic * c.nics_per_node as f64;
        let per_node = placement.groups().len() as f64 * n / shape.domain_count as f64;
        let siblings_here = (c.gpus_per_node as f64 / shape.ranks_per_domain as f64)
            .min(placement.groups().len() as f64)
            .max(1.0);
        let _ = per_node;
        let inter = shape.domain_count > 1;
        let rate: BytesPerSecond = if inter { up.min(node_rate / siblings_here) } else { up };
        let s = collective.bytes;
        let steps = match collective.kind {
            CollectiveKind::AllReduce => 2.0 * (n - 1.0),
            CollectiveKind::SendReceive => 1.0,
            _ => n - 1.0,
        };
        let volume = match collective.kind {
            CollectiveKind::SendReceive => s,
            _ => s * (steps / n),
        };
        let hop = if inter {
            c.network_latency * (shape.domain_count as f64 / n) + c.scale_up_latency
        } else {
            c.scale_up_latency
        };
        let time = Seconds::from_us(6.0) + hop * steps.min(64.0) + volume / rate;
        CollectivePrice {
            time: time * self.factor,
            scale_up_fraction: if inter { 0.3 } else { 0.9 },
            network_fraction: if inter { 0.9 } else { 0.0 },
        }
    }
}
