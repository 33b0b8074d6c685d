//! Lengths of time on the simulated clock: whole picoseconds, so that parts add up exactly.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use super::{Instant, Seconds};

/// A length of time in whole picoseconds. Sums saturate; a difference is never below nothing.
///
/// Serialised in microseconds, as profilers write times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Picoseconds(u64);

impl Picoseconds {
    /// None.
    pub const ZERO: Self = Self(0);

    /// From picoseconds.
    pub const fn new(ps: u64) -> Self {
        Self(ps)
    }

    /// From one instant to another; nothing where `to` is the earlier one.
    pub const fn between(from: Instant, to: Instant) -> Self {
        Self(to.ps().saturating_sub(from.ps()))
    }

    /// In picoseconds.
    pub const fn ps(self) -> u64 {
        self.0
    }

    /// In microseconds.
    pub fn us(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As a quantity.
    pub fn seconds(self) -> Seconds {
        Seconds::new(self.0 as f64 * 1e-12)
    }

    /// As a share of a whole; zero of nothing.
    pub fn share_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.0 as f64 / whole.0 as f64 }
    }

    /// Divided by a count; zero for none.
    #[must_use]
    pub fn mean_of(self, count: u64) -> Self {
        Self(self.0.checked_div(count).unwrap_or(0))
    }
}

impl Add for Picoseconds {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Picoseconds {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Picoseconds {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Picoseconds {
    fn sum<I: Iterator<Item = Self>>(lengths: I) -> Self {
        lengths.fold(Self::ZERO, Add::add)
    }
}

impl serde::Serialize for Picoseconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_neither_wrap_nor_divide_by_nothing() {
        let short = Picoseconds::new(3);
        assert_eq!(short - Picoseconds::new(5), Picoseconds::ZERO);
        assert_eq!(short + Picoseconds::new(u64::MAX), Picoseconds::new(u64::MAX));
        assert_eq!(short.mean_of(0), Picoseconds::ZERO);
        assert_eq!(Picoseconds::new(8_911_887_000).us().to_string(), "8911.887");
        assert_eq!(short.share_of(Picoseconds::ZERO), 0.0);
    }
}
