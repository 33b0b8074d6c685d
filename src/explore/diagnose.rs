//! Diagnosis: what slows a recorded step down, with evidence, what it would be worth to remove it,
//! and the cheapest experiment that tells whether it is so.
//!
//! Causes are looked for in the timeline; each comes with the edit that would remove it
//! ([`super::what_if`]). What it is worth is what the engine says when it runs the edited step, not
//! the sum of what was found.

mod frames;
mod gaps;
