//! Broadcast: one rank's buffer runs through all the others in a chain, chunk by chunk.
//!
//! NCCL broadcasts on its rings only: a chunk crosses every rank before the last one has it, so
//! that among many nodes the filling of the chain costs more than the bytes.

use super::algorithm::{CollectiveAlgorithm, Fill, Round, Steps};
use super::layout::Layout;
use super::ring;
use crate::topology::{GpuIndex, Topology};
use crate::units::Bytes;
use crate::work::{Collective, CollectiveKind};

/// Chunk of a channel (NCCL: a buffer of 4 MiB in 8 steps).
const CHANNEL_CHUNK: f64 = 512.0 * 1024.0;

/// The chain, with as many channels as the group has ports.
pub(super) struct Broadcast;

impl CollectiveAlgorithm for Broadcast {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn rounds(
        &self,
        collective: &Collective,
        group: &[GpuIndex],
        topology: &Topology,
    ) -> Option<Vec<Round>> {
        if collective.kind != CollectiveKind::Broadcast {
            return None;
        }
        let layout = Layout::new(group, topology);
        let crossings = layout.domains.len() as f64 - 1.0;
        let hops = layout.size as f64 - 1.0;
        let steps = Steps { scale_up: hops - crossings, network: crossings, ..Steps::default() };
        let fill = Fill {
            hops: if crossings > 0.0 { crossings } else { hops },
            scale_up_hops: if crossings > 0.0 { hops - crossings } else { 0.0 },
            chunk: CHANNEL_CHUNK * layout.channel_count as f64,
        };
        // The whole buffer passes every link of the ring but the last.
        let flows = ring::flows(&layout, collective.bytes, topology.is_direct_mesh());
        Some(vec![Round { repeat: 1, steps, fill, local: Bytes::ZERO, flows }])
    }
}
