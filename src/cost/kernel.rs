//! Models of how long a kernel runs alone on a GPU.

mod architecture;
mod attention;
#[cfg(test)]
pub(in crate::cost) mod fixture;
mod gemm;
mod memory;
mod roofline;
#[cfg(test)]
mod tests;

use super::book::Evidence;
use crate::units::Seconds;
use crate::work::Kernel;

pub use roofline::Roofline;

/// What a model says of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Time for which the stream is busy with the kernel.
    pub time: Seconds,
    /// Expected relative error of the time, one sigma.
    pub relative_error: f64,
    /// What it rests on.
    pub evidence: Evidence,
    /// Whether the shape lies outside of what was measured.
    pub is_outside: bool,
}

/// A model of kernel times on one GPU under one stack.
pub trait KernelModel: Send + Sync {
    /// Name for reports.
    fn name(&self) -> &'static str;

    /// Time of a kernel, or `None` where the model knows nothing of its kind or shape.
    fn predict(&self, kernel: &Kernel) -> Option<Prediction>;
}

/// What the forms of the roofline yield.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// Time for which the stream is busy.
    pub(super) time: Seconds,
    /// Expected absolute error of the time over the time.
    pub(super) relative_error: f64,
    /// Share of the time that memory traffic sets, 0 to 1.
    pub(super) memory_share: f64,
}

impl Estimate {
    /// A kernel that is launched and then busy; `memory_share` is that of the busy time.
    fn new(floor: f64, busy: f64, memory_share: f64, relative_error: f64) -> Self {
        let time = floor + busy;
        let memory_share = if time > 0.0 { memory_share * (busy / time) } else { 0.0 };
        Self { time: Seconds::new(time), relative_error, memory_share }
    }
}

/// Exponent of [`smooth_maximum`], as the fits of measured GEMMs found it: traffic and arithmetic
/// overlap well, and only within some 20 % of each other do both show.
const SMOOTHNESS: i32 = 4;

/// `(a^4 + b^4)^(1/4)`, and the share of `b` in it. Nothing has no share.
fn smooth_maximum(a: f64, b: f64) -> (f64, f64) {
    let larger = a.max(b);
    if larger <= 0.0 || !larger.is_finite() {
        return (larger, 0.0);
    }
    // Scaled first, so that fourth powers of nanoseconds do not vanish.
    let (scaled_a, scaled_b) = ((a / larger).powi(SMOOTHNESS), (b / larger).powi(SMOOTHNESS));
    let sum = scaled_a + scaled_b;
    (larger * sum.sqrt().sqrt(), scaled_b / sum)
}

/// Waves that `tasks` equal tasks take on `slots` slots: 1 while they fit at once, else between the
/// even share and its ceiling; `quantisation` 1 keeps whole waves, 0 spreads the last one evenly.
fn waves(tasks: f64, slots: f64, quantisation: f64) -> f64 {
    let even = tasks / slots;
    if even <= 1.0 { 1.0 } else { (1.0 - quantisation) * even + quantisation * even.ceil() }
}

/// A fraction that a file gives, kept where times stay positive and finite and no kernel beats the
/// peak. Checks of the scenario refuse such values; this is for callers that skip them.
fn sane_fraction(fraction: f64) -> f64 {
    if fraction.is_nan() { 1.0 } else { fraction.clamp(1e-3, 1.0) }
}
