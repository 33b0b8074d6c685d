//! The machine as a graph: GPUs, scale-up switches, NICs, leaf and spine switches, and the links
//! between them.
//!
//! A [`Fabric`] holds only the nodes that a communication touches, so that a cluster of any size
//! costs what its busy part costs.

mod fabric;
mod placement;

pub use fabric::{Device, Fabric, Link, Route};
pub use placement::{GpuIndex, Placement, Shape};

use crate::spec::Cluster;

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Topology<'a> {
    cluster: &'a Cluster,
}

impl<'a> Topology<'a> {
    /// The machine of a cluster.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster }
    }

    /// The cluster behind it.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// The part of the machine that some groups of GPUs use.
    pub fn fabric(&self, placement: &Placement) -> Fabric {
        Fabric::new(self.cluster, placement)
    }

    /// How a group lies on the machine.
    pub fn shape(&self, group: &[GpuIndex]) -> Shape {
        Shape::new(self.cluster, group)
    }
}
