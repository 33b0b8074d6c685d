//! In two levels (NCCL's NVLSTree): the switch of each domain reduces and multicasts, and between
//! domains every rail runs its part over a double binary tree, all in one pipeline.
//!
//! Offered only where the switch reduces. NCCL has no two-level algorithm for other machines, and
//! measured all-reduces of 16 A100 do not show one.

use super::algorithm::{CollectiveAlgorithm, Fill, Round, Shares, Steps};
use super::layout::Layout;
use super::nvls;
use super::protocol::{Protocol, SIMPLE};
use super::tree;
use crate::topology::{GpuIndex, Topology};
use crate::units::Bytes;
use crate::work::{Collective, CollectiveKind};

/// Share of the rate of the switches: 16 H100 on 2 nodes all-reduce at 253 to 262 GB/s of buffer
/// (oci-hpc@b5285a6, awslabs/awsome-distributed-ai@95b939c), 8 on one at 272.
const SCALE_UP_SHARE: f64 = 0.96;

/// All-reduce across domains whose switches reduce.
pub(super) struct Hierarchical;

impl CollectiveAlgorithm for Hierarchical {
    fn name(&self) -> &'static str {
        "hierarchical"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        let layout = Layout::new(group, topology);
        let possible = topology.reduces_in_switch()
            && collective.kind == CollectiveKind::AllReduce
            && layout.domains.len() > 1
            && layout.domains.iter().all(|domain| domain.ranks.len() > 1);
        if !possible {
            return None;
        }
        let (mut flows, fill) = tree::trunk(&layout, collective.bytes);
        let switches = layout.domains.iter();
        flows.extend(switches.flat_map(|one| nvls::switch_flows(one, collective.bytes)));
        let steps = Steps { scale_up: nvls::HOPS, network: fill.hops, fixed: nvls::SETUP };
        let fill = Fill { hops: fill.hops + 1.0, chunk: nvls::chunk(&layout), ..Fill::default() };
        Some(vec![Round { repeat: 1, steps, fill, local: Bytes::ZERO, flows }])
    }

    fn shares(&self, group: &[GpuIndex], topology: &Topology) -> Shares {
        let domains = Layout::new(group, topology).domains.len();
        Shares {
            scale_up: SCALE_UP_SHARE * topology.in_switch_share(),
            network: tree::inner_share(domains),
        }
    }

    fn protocols(&self) -> &'static [Protocol] {
        const { &[SIMPLE] }
    }
}
