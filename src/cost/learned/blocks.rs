//! Blocks of attention dealt out to SMs: what forward and backward forms share.

/// `(a^4 + b^4)^(1/4)`: compute and traffic overlap well, and both show only where they are close.
pub(super) fn smooth_maximum(a: f64, b: f64) -> f64 {
    let larger = a.max(b);
    if larger <= 0.0 || !larger.is_finite() {
        return larger;
    }
    // Scaled first, so that powers neither vanish nor overflow.
    let ratio = a.min(b) / larger;
    let square = ratio * ratio;
    larger * (1.0 + square * square).sqrt().sqrt()
}

/// Largest size that forms count with, so that no product overflows.
const SIZE_MAX: f64 = 1e12;

/// A size of a shape, at least 1 whatever a table or a caller says.
pub(super) fn size(value: f64) -> f64 {
    if value.is_nan() { 1.0 } else { value.clamp(1.0, SIZE_MAX) }
}

/// Blocks of queries (forward) or keys (backward), each running along the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// How many there are.
    pub(super) count: f64,
    /// SMs.
    pub(super) slots: f64,
    /// Length that the longest block runs along.
    pub(super) longest_keys: f64,
    /// The same of the mean block: half of it under a causal mask.
    pub(super) mean_keys: f64,
    /// Length whose time each block pays for prologue, diagonal and epilogue.
    pub(super) overhead_keys: f64,
    /// Time of a block along one of them, us.
    pub(super) key_us: f64,
    /// How far the last SM is behind the mean, in longest blocks.
    pub(super) last_wave: f64,
}

impl Blocks {
    /// Time until the last block is done, us.
    ///
    /// SMs take the next block when they are done, so all end together but for the last wave: few
    /// blocks hardly queue, and that share grows as `1 - e^-waves`. No run is shorter than its
    /// longest block.
    pub(super) fn time_us(&self) -> f64 {
        let block = |keys: f64| self.key_us * (keys + self.overhead_keys);
        let waves = self.count / self.slots;
        let longest = block(self.longest_keys);
        let shared =
            waves * block(self.mean_keys) + self.last_wave * longest * (1.0 - (-waves).exp());
        let larger = shared.max(longest);
        let ratio = shared.min(longest) / larger;
        let cube = ratio * ratio * ratio;
        // The sixth-power mean: a smooth maximum that leaves less than 13 % where both are equal.
        larger * (1.0 + cube * cube).sqrt().cbrt()
    }
}
