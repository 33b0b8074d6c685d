//! The inputs: what a scenario says, as data, and the rules that its parts must keep together.
//!
//! A [`Scenario`] has six parts. Each is a TOML file or a table, and each may be named, given
//! inline, or named and overridden. Nothing here behaves: it is data and checks.

mod cluster;
mod fit;
mod gpu;
mod model;
mod plan;
mod scenario;
mod stack;
mod training;

pub use cluster::Cluster;
pub use fit::Fit;
pub use gpu::Gpu;
pub use model::{Activation, Model, Norm, Position};
pub use plan::{ContextParallel, Plan, Recompute, Schedule};
pub use scenario::Scenario;
pub use stack::{GradientReduce, MeshAxis, Stack};
pub use training::{Optimizer, Precision, Training};
