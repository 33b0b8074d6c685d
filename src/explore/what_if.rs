//! What if: edits of a recorded step, and the same run on the same engine.
//!
//! An edit changes the program of a recording ([`crate::replay`]) or what its works cost; then the
//! engine runs it again. What a change is worth is the difference of two such runs, never a sum of
//! durations: work that is hidden is worth nothing, and what was hidden behind it comes to light.
//! Kernels that come to run beside communication slow as the same kernels did in the recording.

mod answer;
mod apply;
mod change;
mod gpu;
mod interference;
mod select;
mod selection;

pub use answer::{WhatIfError, what_if};
pub(super) use answer::{measured_us, step_count, step_us};
pub(super) use apply::remove_between;
pub use apply::{Touched, apply};
pub use change::{CHANGES, Change, ChangeError};
pub use gpu::GpuSwap;
pub use select::{ClassOf, Selector};
pub use selection::{Selection, beside_communication};
