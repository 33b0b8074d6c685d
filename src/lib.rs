//! stepcast: a simulator and world model of distributed LLM training.

pub mod cost;
pub mod des;
pub mod graph;
pub mod plan;
pub mod program;
pub mod report;
pub mod sim;
pub mod spec;
pub mod timeline;
pub mod units;
pub mod work;
