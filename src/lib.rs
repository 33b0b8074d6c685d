//! stepcast: a simulator and world model of distributed LLM training.

pub mod analysis;
pub mod cost;
pub mod des;
pub mod graph;
pub mod plan;
mod predict;
pub mod program;
pub mod report;
pub mod sim;
pub mod spec;
pub mod timeline;
pub mod topology;
pub mod units;
pub mod work;

pub use predict::{Detail, Prediction, SimulateError, simulate};
