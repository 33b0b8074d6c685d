//! Measurements to fits: tables in, cost models with their residuals out.

mod accuracy;
mod boost;
mod hardware;
mod kind;
mod learn;
mod machine;
mod measured;
mod network;
mod overview;
mod provenance;
mod recorded;
mod solve;
mod table;

pub use accuracy::{Checked, Group, groups, overall, residuals};
pub use boost::Growth;
pub use hardware::Hardware;
pub use kind::{CheckOptions, KINDS, Kind, LearnOptions, Learned, Progress, kinds_of};
pub use machine::{MachineFactors, machine_factors};
pub use measured::{Measured, Observation};
pub use overview::overview;
pub use recorded::{
    Extract, ExtractOptions, Interference, Interferences, LaunchCosts, ShapedKernels, Sheet,
    extract, interference, is_bound_by_memory,
};
pub use solve::robust_least_squares;
pub use table::{Fault, Row, Table};
