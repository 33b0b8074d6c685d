//! stepcast: a simulator and world model of distributed LLM training.

pub mod cost;
pub mod des;
pub mod spec;
pub mod topology;
pub mod units;
pub mod work;
