//! What a collective costs: algorithms give rounds of flows, links give rates, least time wins.
//!
//! The seconds are `launch + sum over rounds of repeat * (latency + transfer)`, once for each
//! algorithm that can run the operation and each protocol, as NCCL's tuner has it. In a round all
//! flows, those of sibling groups included, go on side by side in proportion to their bytes, so
//! the slowest ends with the bottleneck link: `transfer = max over links of bytes / rate`. A
//! property test holds this against the max-min fair rates of `des::solve`.

mod algorithm;
mod all_to_all;
mod broadcast;
mod hierarchical;
mod layout;
mod load;
mod nvls;
mod price;
mod protocol;
mod ring;
mod send_receive;
mod tree;

pub use algorithm::{CollectiveAlgorithm, Fill, Flow, Round, Steps};
pub use load::Loads;
pub use price::{CollectiveCost, CollectivePrice};
pub use protocol::{PROTOCOLS, Protocol};

/// All algorithms. Of equally fast ones the first is taken.
pub const ALGORITHMS: &[&dyn CollectiveAlgorithm] = &[
    &ring::Ring,
    &tree::Tree,
    &hierarchical::Hierarchical,
    &nvls::Nvls,
    &all_to_all::AllToAll,
    &send_receive::SendReceive,
    &broadcast::Broadcast,
];
