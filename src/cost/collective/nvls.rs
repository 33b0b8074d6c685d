//! In-switch reduction (NVLink SHARP): the switch adds what it is asked for and multicasts sums.
//!
//! A GPU asks for its `1 / n` of the sum, for which the others send theirs, and hands it out: each
//! sends and receives `S`, against `2 S (n - 1) / n` of a ring. 72 GB200 and 8 B200 reduce at the
//! same 423 GB/s of buffer, so nothing else depends on `n`. All-reduce only: measured all-gather
//! and reduce-scatter stay at the rate of a ring (NVIDIA/nccl, NCCL 2.27 to 2.29).

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Shares, Steps};
use super::layout::{Domain, Layout};
use super::protocol::{Protocol, SIMPLE};
use crate::topology::{Device, GpuIndex, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// All-reduce in the switch of one domain.
pub(super) struct Nvls;

/// Ranks below which NCCL runs a ring: 4 H100 and 4 B200 do, 6 B200 and 8 H100 reduce in the switch
/// (aiconfigurator@095f58a, NCCL 2.29).
const SIZE_MIN: usize = 6;

/// Bytes of a rank that are under way as one chunk: 8 H100 and H200 take 75 to 100 us over their
/// line of 272 GB/s, of which 25 are set-up (stas00/ml-engineering@744d01e, Azure), 72 GB200 and
/// hops between two racks some 400 us (coreweave/nccl-tests@cb86553).
const RANK_CHUNK: f64 = 2.0 * 1024.0 * 1024.0;

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
            let fill = Fill { hops: 1.0, chunk: chunk(&layout), ..Fill::default() };
            vec![Round { repeat: 1, steps, fill, local: Bytes::ZERO, flows }]
        })
    }

    fn shares(&self, _group: &[GpuIndex], topology: &Topology) -> Shares {
        Shares { scale_up: topology.in_switch_share(), ..Shares::default() }
    }

    fn protocols(&self) -> &'static [Protocol] {
        const { &[SIMPLE] }
    }
}

/// Bytes that are under way as one chunk in a domain: each rank has its part of them.
pub(super) fn chunk(layout: &Layout) -> f64 {
    RANK_CHUNK * layout.widest as f64
}

/// What the ranks of a domain exchange with their switch.
pub(super) fn switch_flows(domain: &Domain, bytes: Bytes) -> impl Iterator<Item = Flow> {
    let switch = Device::Switch(domain.index);
    domain.ranks.iter().flat_map(move |gpu| {
        let gpu = Device::Gpu(*gpu);
        [Flow { from: gpu, to: switch, bytes }, Flow { from: switch, to: gpu, bytes }]
    })
}
