//! Where the time of devices and hosts went, as recorded timelines tell it.

mod collectives;
mod host;
mod idle;
mod kernels;
mod occupancy;
mod queue;
#[cfg(test)]
mod slow;
mod steps;
mod streams;
#[cfg(test)]
mod tests;
mod work;

pub use collectives::{
    Arrival, CollectiveProfile, KnownCollective, OperationTime, RankCommunication,
};
pub use host::{AllocationProfile, CallTime, HostProfile};
pub(super) use idle::Hosts;
pub use idle::{Cause, IdleStretch, IdleTime, idle_stretches};
pub use kernels::{KernelTime, KindTime};
pub use occupancy::Occupancy;
pub(super) use occupancy::Occupied;
pub use queue::{QueueProfile, QueueSeries};
pub use steps::StepProfile;
pub(super) use steps::steps;
pub use streams::StreamProfile;
pub(super) use work::{Work, works};

use serde::Serialize;

use crate::timeline::Timeline;
use crate::units::Picoseconds;

/// What an analysis is told beside the timeline, and how much is asked.
#[derive(Clone, Debug, Default)]
pub struct ProfileOptions {
    /// Kernels named at most, of each process.
    pub kernels: usize,
    /// What is known of kernels that communicate.
    pub communication: Vec<KnownCollective>,
    /// Ranks of the job, where they are known.
    pub world_size: Option<u64>,
}

/// Where the time of all processes went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Profile {
    /// Each process of the timeline, in its order.
    pub ranks: Vec<RankProfile>,
    /// Collectives whose members are in the timeline, in order of their first arrivals.
    pub collectives: Vec<CollectiveProfile>,
}

/// Where the time of a process went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RankProfile {
    /// What its device was busy with, over the whole timeline.
    #[serde(flatten)]
    pub occupancy: Occupancy,
    /// Kernels, copies and fills.
    pub gpu_events: u64,
    /// Time of calls that wait for a stream, an event or the device, of all threads.
    #[serde(rename = "host_sync_call_us")]
    pub host_sync_call: Picoseconds,
    /// Why nothing ran on the device; sums to the idle time.
    pub idle_causes: IdleTime,
    /// Steps that the recording marks.
    pub steps: Vec<StepProfile>,
    /// Device work by kind, the longest first.
    pub kinds: Vec<KindTime>,
    /// Device work by name, the longest first.
    pub kernels: Vec<KernelTime>,
    /// Communication by operation.
    pub operations: Vec<OperationTime>,
    /// Communication with members in the timeline.
    pub communication: RankCommunication,
    /// What the host waited for.
    pub host: HostProfile,
    /// Work that was launched and had not begun, on the stream on which it was most.
    pub queue: QueueProfile,
    /// Each stream on its own.
    pub streams: Vec<StreamProfile>,
    /// Calls for device memory.
    pub allocation: AllocationProfile,
}

/// The profile of a timeline, recorded or simulated.
///
/// Takes time near-linear in the number of spans.
pub fn profile(timeline: &Timeline, options: &ProfileOptions) -> Profile {
    let collectives = collectives::collectives(timeline, options);
    let mut ranks: Vec<RankProfile> = works(timeline)
        .iter()
        .map(|work| {
            let host = HostProfile::of(work);
            let queues = queue::queues(work, host.launch_median);
            let hosts = Hosts::of(work);
            let mut idle_causes = IdleTime::default();
            hosts.device_stretches().iter().for_each(|one| idle_causes.add(one));
            RankProfile {
                occupancy: Occupancy::of(work.device()),
                gpu_events: work.device.len() as u64,
                host_sync_call: host.synchronization_time(),
                idle_causes,
                steps: steps(work),
                kinds: kernels::kinds(work),
                kernels: kernels::kernels(work, options.kernels),
                operations: collectives::operations(work, &options.communication),
                communication: RankCommunication::default(),
                queue: queue::deepest(&queues),
                streams: streams::streams(work, &hosts, &queues),
                allocation: AllocationProfile::of(work),
                host,
            }
        })
        .collect();
    collectives::count(&collectives, &mut ranks);
    Profile { ranks, collectives }
}
