//! Questions that take several runs: what if a recorded step were changed, and what is wrong with
//! it. Nothing is printed here.

pub mod diagnose;
pub mod what_if;
