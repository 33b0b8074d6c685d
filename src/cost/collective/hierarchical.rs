//! In two levels (NCCL's NVLSTree): the switch of each domain reduces and multicasts, and between
//! domains every rail runs its part over a double binary tree, all in one pipeline.
//!
//! Offered only where the switch reduces. NCCL has no two-level algorithm for other machines, and
//! measured all-reduces of 16 A100 do not show one.

use super::algorithm::{CollectiveAlgorithm, Round, Steps};
use super::layout::Layout;
use super::nvls;
use super::protocol::{Protocol, SIMPLE};
use super::tree;
use crate::topology::{GpuIndex, Topology};
use crate::units::Bytes;
use crate::work::{Collective, CollectiveKind};

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
        Some(vec![Round { repeat: 1, steps, fill, local: Bytes::ZERO, flows }])
    }

    fn scale_up_share(&self) -> f64 {
        nvls::SHARE
    }

    fn protocols(&self) -> &'static [Protocol] {
        const { &[SIMPLE] }
    }
}
