//! Send and receive: one flow.

use super::algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Shares, Steps};
use crate::topology::{GpuIndex, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// From the first rank of the group to the last.
pub(super) struct SendReceive;

/// Share of a NIC that one pair uses: 36 of 48 GB/s between two H100 nodes (vidur@7d47513).
const NETWORK_SHARE: f64 = 0.75;

impl CollectiveAlgorithm for SendReceive {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        if collective.kind != CollectiveKind::SendReceive {
            return None;
        }
        let (&from, &to) = (group.first()?, group.last()?);
        let near = topology.domain_of(from) == topology.domain_of(to);
        let (scale_up, network) = if near { (1.0, 0.0) } else { (0.0, 1.0) };
        let steps = Steps { scale_up, network, fixed: Seconds::ZERO };
        let flows = vec![Flow::between(from, to, collective.bytes)];
        Some(vec![Round { repeat: 1, steps, fill: Fill::default(), local: Bytes::ZERO, flows }])
    }

    fn shares(&self, _group: &[GpuIndex], _topology: &Topology) -> Shares {
        Shares { network: NETWORK_SHARE, ..Shares::default() }
    }
}
