//! What work costs: seconds for kernels and for collectives, and who says so.

mod collective;

pub use collective::{
    ALGORITHMS, CollectiveAlgorithm, CollectiveCost, CollectivePrice, Fill, Flow, Loads, PROTOCOLS,
    Protocol, Round, Steps,
};
