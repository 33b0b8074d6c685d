//! stepcast: a simulator and world model of distributed LLM training.

pub mod cost;
pub mod spec;
pub mod units;
pub mod work;
