//! stepcast: a simulator and world model of distributed LLM training.

pub mod graph;
pub mod plan;
pub mod program;
pub mod spec;
pub mod timeline;
pub mod units;
pub mod work;
