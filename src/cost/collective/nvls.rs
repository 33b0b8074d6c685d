//! In-switch reduction (NVLink SHARP): the switch adds what it is asked for and multicasts sums.
//!
//! A GPU asks for its `1 / n` of the sum, for which all send theirs, and hands it out: each sends
//! and receives `S (1 + 1 / n)`, against `2 S (n - 1) / n` of a ring. All-reduce only: measured
//! all-gather and reduce-scatter stay at the rate of a ring (NVIDIA/nccl, NCCL 2.27 to 2.29).

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Steps};
use super::layout::{Domain, Layout};
use super::protocol::{Protocol, SIMPLE};
use crate::topology::{Device, GpuIndex, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// All-reduce in the switch of one domain.
pub(super) struct Nvls;

/// Ranks below which a ring sends as little.
const SIZE_MIN: usize = 4;

/// Share of the ring's rate: 8 H100 all-reduce 256 to 512 MB at 262 GB/s of buffer a second
/// (aiconfigurator@095f58a), which is 295 GB/s on the wire where a ring moves 367.
pub(super) const SHARE: f64 = 0.8;

/// Set-up of the multicast (NVIDIA/nccl `src/graph/tuning.cc`, `hwLat` of NVLS).
pub(super) const SETUP: Seconds = Seconds::from_us(25.0);

/// Hops one after the other: to the switch and back, to add and to hand out.
pub(super) const HOPS: f64 = 4.0;

impl CollectiveAlgorithm for Nvls {
    fn name(&self) -> &'static str {
        "nvls"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        let layout = Layout::new(group, topology);
        let [domain] = layout.domains.as_slice() else { return None };
        let possible = topology.reduces_in_switch()
            && collective.kind == CollectiveKind::AllReduce
            && layout.size >= SIZE_MIN;
        possible.then(|| {
            let steps = Steps { scale_up: HOPS, network: 0.0, fixed: SETUP };
            let flows = switch_flows(domain, collective.bytes).collect();
            vec![Round { repeat: 1, steps, fill: Fill::default(), local: Bytes::ZERO, flows }]
        })
    }

    fn scale_up_share(&self) -> f64 {
        SHARE
    }

    fn protocols(&self) -> &'static [Protocol] {
        const { &[SIMPLE] }
    }
}

/// What the ranks of a domain exchange with their switch.
pub(super) fn switch_flows(domain: &Domain, bytes: Bytes) -> impl Iterator<Item = Flow> {
    let switch = Device::Switch(domain.index);
    let bytes = bytes * (1.0 + 1.0 / domain.ranks.len() as f64);
    domain.ranks.iter().flat_map(move |gpu| {
        let gpu = Device::Gpu(*gpu);
        [Flow { from: gpu, to: switch, bytes }, Flow { from: switch, to: gpu, bytes }]
    })
}
