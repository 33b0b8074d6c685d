//! Physical quantities as types, with text such as `"80 GiB"` or `"400 Gbit/s"`.
//!
//! Quantities are newtypes over `f64` in SI base units; only products and quotients that mean
//! something exist (`Bytes / BytesPerSecond = Seconds`). The simulated clock is [`Instant`], an
//! integer, so that equal inputs give equal bytes out.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};

mod instant;
mod picoseconds;
mod text;

pub use instant::Instant;
pub use picoseconds::Picoseconds;
pub use text::UnitError;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0.0);

            /// From the SI base unit.
            pub const fn new(value: f64) -> Self {
                Self(value)
            }

            /// In the SI base unit.
            pub const fn value(self) -> f64 {
                self.0
            }

            /// The larger of two.
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// The smaller of two.
            #[must_use]
            pub fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }
        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }
        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }
        impl Div for $name {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                Self(iter.map(|quantity| quantity.0).sum())
            }
        }
        impl std::str::FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                text::parse(text, $kind, text::$name).map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                text::display(formatter, self.0, text::$name)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::deserialize(deserializer, $kind, text::$name, $example).map(Self)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&text::Exact(self.0, text::$name))
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": concat!($kind, " with its unit"),
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        }
    };
}

quantity!(
    /// A span of time, in seconds.
    Seconds, "a time", r"^[0-9.eE+_-]+ ?(s|ms|us|ns|ps|min|h)$", "5 us"
);
quantity!(
    /// An amount of data, in bytes.
    Bytes, "a size", r"^[0-9.eE+_-]+ ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$", "80 GiB"
);
quantity!(
    /// Floating-point operations; a multiply-add counts as two.
    Flops, "an amount of work", r"^[0-9.eE+_-]+ ?(FLOP|GFLOP|TFLOP|PFLOP)$", "2 TFLOP"
);
quantity!(
    /// A rate of data, in bytes per second.
    BytesPerSecond, "a bandwidth",
    r"^[0-9.eE+_-]+ ?(B/s|kB/s|MB/s|GB/s|TB/s|Mbit/s|Gbit/s|Tbit/s)$", "400 Gbit/s"
);
quantity!(
    /// A rate of computation, in floating-point operations per second.
    FlopsPerSecond, "a compute rate", r"^[0-9.eE+_-]+ ?(GFLOP/s|TFLOP/s|PFLOP/s)$", "989 TFLOP/s"
);
quantity!(
    /// Power, in watts.
    Watts, "a power", r"^[0-9.eE+_-]+ ?(W|kW|MW)$", "700 W"
);
quantity!(
    /// Energy, in joules.
    Joules, "an energy", r"^[0-9.eE+_-]+ ?(J|kJ|MJ|kWh)$", "2 kWh"
);

macro_rules! product {
    ($rate:ident * Seconds = $amount:ident) => {
        impl Mul<Seconds> for $rate {
            type Output = $amount;
            fn mul(self, time: Seconds) -> $amount {
                $amount(self.0 * time.0)
            }
        }
        impl Div<$rate> for $amount {
            type Output = Seconds;
            fn div(self, rate: $rate) -> Seconds {
                Seconds(self.0 / rate.0)
            }
        }
        impl Div<Seconds> for $amount {
            type Output = $rate;
            fn div(self, time: Seconds) -> $rate {
                $rate(self.0 / time.0)
            }
        }
    };
}

product!(BytesPerSecond * Seconds = Bytes);
product!(FlopsPerSecond * Seconds = Flops);
product!(Watts * Seconds = Joules);

impl Seconds {
    /// From microseconds.
    pub const fn from_us(us: f64) -> Self {
        Self(us * 1e-6)
    }

    /// In microseconds.
    pub const fn us(self) -> f64 {
        self.0 * 1e6
    }
}
