//! The simulated clock: whole picoseconds since the start of the simulation.

use std::ops::{Add, Sub};

use super::Seconds;

/// A point on the simulated clock, in picoseconds (a `u64` spans 213 days).
///
/// Floats enter through one rounding, in [`Instant::after`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the simulation.
    pub const START: Self = Self(0);
    /// Later than every other instant.
    pub const NEVER: Self = Self(u64::MAX);

    /// From picoseconds since the start.
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// Picoseconds since the start.
    pub const fn ps(self) -> u64 {
        self.0
    }

    /// This instant plus a duration, rounded to the nearest picosecond; a negative or NaN
    /// duration counts as none and a sum past the end of the clock saturates.
    #[must_use]
    pub fn after(self, duration: Seconds) -> Self {
        // `as` saturates and sends NaN to zero.
        Self(self.0.saturating_add((duration.value() * 1e12).round() as u64))
    }

    /// Time since the start.
    pub fn seconds(self) -> Seconds {
        self.since(Self::START)
    }

    /// Time since an instant; zero where that is the later one.
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds::new(self.0.saturating_sub(earlier.0) as f64 * 1e-12)
    }
}

impl Add<Seconds> for Instant {
    type Output = Self;
    fn add(self, duration: Seconds) -> Self {
        self.after(duration)
    }
}

impl Sub for Instant {
    type Output = Seconds;
    /// Time from `other` to `self`; zero where `other` is the later one.
    fn sub(self, other: Self) -> Seconds {
        self.since(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_once_and_saturates() {
        assert_eq!(Instant::START.after(Seconds::new(1.4e-12)).ps(), 1);
        assert_eq!(Instant::from_ps(5).after(Seconds::new(-1.0)).ps(), 5);
        assert_eq!(Instant::from_ps(5).after(Seconds::new(f64::NAN)).ps(), 5);
        assert_eq!(Instant::START.after(Seconds::new(1e300)), Instant::NEVER);
        assert_eq!(Instant::from_ps(1) - Instant::from_ps(3), Seconds::ZERO);
    }
}
