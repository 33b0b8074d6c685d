//! Parsing and printing of quantities.

use std::fmt;

/// The units of one quantity: text and size in SI base units, ascending; `true` marks the units
/// that printing picks from.
pub(super) type Units = &'static [(&'static str, f64, bool)];

const KIB: f64 = 1024.0;

#[allow(non_upper_case_globals)]
mod tables {
    use super::{KIB, Units};
    pub(in crate::units) const Seconds: Units = &[
        ("ps", 1e-12, true),
        ("ns", 1e-9, true),
        ("us", 1e-6, true),
        ("ms", 1e-3, true),
        ("s", 1.0, true),
        ("min", 60.0, false),
        ("h", 3600.0, false),
    ];
    pub(in crate::units) const Bytes: Units = &[
        ("B", 1.0, true),
        ("kB", 1e3, false),
        ("KiB", KIB, true),
        ("MB", 1e6, false),
        ("MiB", KIB * KIB, true),
        ("GB", 1e9, false),
        ("GiB", KIB * KIB * KIB, true),
        ("TB", 1e12, false),
        ("TiB", KIB * KIB * KIB * KIB, true),
    ];
    pub(in crate::units) const Flops: Units =
        &[("FLOP", 1.0, true), ("GFLOP", 1e9, true), ("TFLOP", 1e12, true), ("PFLOP", 1e15, true)];
    pub(in crate::units) const BytesPerSecond: Units = &[
        ("B/s", 1.0, true),
        ("kB/s", 1e3, true),
        ("Mbit/s", 1e6 / 8.0, false),
        ("MB/s", 1e6, true),
        ("Gbit/s", 1e9 / 8.0, false),
        ("GB/s", 1e9, true),
        ("Tbit/s", 1e12 / 8.0, false),
        ("TB/s", 1e12, true),
    ];
    pub(in crate::units) const FlopsPerSecond: Units =
        &[("GFLOP/s", 1e9, true), ("TFLOP/s", 1e12, true), ("PFLOP/s", 1e15, false)];
    pub(in crate::units) const Watts: Units =
        &[("W", 1.0, true), ("kW", 1e3, true), ("MW", 1e6, true)];
    pub(in crate::units) const Joules: Units =
        &[("J", 1.0, true), ("kJ", 1e3, true), ("MJ", 1e6, true), ("kWh", 3.6e6, false)];
}
pub(super) use tables::*;

/// Text that is no quantity of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Reads `"80 GiB"`; the unit is required, so that GB and GiB, bits and bytes are never mixed up.
pub(super) fn parse(text: &str, kind: &str, units: Units) -> Result<f64, UnitError> {
    let accepted = || units.iter().map(|unit| unit.0).collect::<Vec<_>>().join(", ");
    let text = text.trim();
    let split = text
        .char_indices()
        .find(|&(index, letter)| {
            let of_number = letter.is_ascii_digit() || matches!(letter, '.' | '_' | '-' | '+');
            !of_number && !is_exponent(text, index)
        })
        .map_or(text.len(), |(index, _)| index);
    let (number, unit) = (text[..split].replace('_', ""), text[split..].trim());
    let value: f64 = number.parse().map_err(|_| {
        UnitError(format!("`{text}` is not {kind}: a number and a unit ({})", accepted()))
    })?;
    if unit.is_empty() {
        return Err(UnitError(format!(
            "`{text}` has no unit; write {kind} with one of {}",
            accepted()
        )));
    }
    let Some(&(_, size, _)) = units.iter().find(|known| known.0 == unit) else {
        let near = units
            .iter()
            .map(|known| {
                (strsim::jaro_winkler(&known.0.to_lowercase(), &unit.to_lowercase()), known.0)
            })
            .filter(|(score, _)| *score > 0.6)
            .max_by(|left, right| left.0.total_cmp(&right.0));
        let hint = near.map_or(String::new(), |(_, name)| format!("; did you mean `{name}`?"));
        return Err(UnitError(format!(
            "unknown unit `{unit}` for {kind}{hint} (accepted: {})",
            accepted()
        )));
    };
    let value = value * size;
    if !(0.0..=1e30).contains(&value) {
        return Err(UnitError(format!("`{text}` must be a finite amount of at least zero")));
    }
    Ok(value)
}

/// Whether the letter at `index` is the `e` of `1e9`.
fn is_exponent(text: &str, index: usize) -> bool {
    let rest = &text.as_bytes()[index..];
    index > 0
        && matches!(rest[0], b'e' | b'E')
        && text.as_bytes()[index - 1].is_ascii_digit()
        && rest.get(1).is_some_and(|next| next.is_ascii_digit() || matches!(next, b'+' | b'-'))
}

/// Prints with the largest unit that keeps the number at 1 or above, in four digits.
pub(super) fn display(formatter: &mut fmt::Formatter<'_>, value: f64, units: Units) -> fmt::Result {
    let printed: Vec<_> = units.iter().filter(|unit| unit.2).collect();
    let &(name, size, _) = printed
        .iter()
        .rfind(|unit| value.abs() >= unit.1)
        .or(if value == 0.0 { printed.last() } else { printed.first() })
        .copied()
        .unwrap_or(&units[0]);
    let scaled = value / size;
    let precision = formatter.precision().unwrap_or(match scaled.abs() {
        amount if amount >= 1000.0 || amount == 0.0 => 0,
        amount if amount >= 100.0 => 1,
        amount if amount >= 10.0 => 2,
        _ => 3,
    });
    let text = format!("{scaled:.precision$} {name}");
    // `pad` would read the precision as a length to cut the text to.
    match formatter.width() {
        Some(width) => write!(formatter, "{text:>width$}"),
        None => formatter.write_str(&text),
    }
}

/// The value with all its digits, in the largest unit at or below it that loses none: what
/// serialisation writes, so that reading it back gives the same number.
pub(super) struct Exact(pub(super) f64, pub(super) Units);

impl fmt::Display for Exact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, units) = *self;
        // The fewest digits, then the largest unit, among those that read back as the same value.
        let (name, size, _) = units
            .iter()
            .rev()
            .filter(|unit| value >= unit.1 && (value / unit.1) * unit.1 == value)
            .min_by_key(|unit| (value / unit.1).to_string().len())
            .or_else(|| units.iter().find(|unit| unit.1 == 1.0))
            .copied()
            .unwrap_or(units[0]);
        write!(formatter, "{} {name}", value / size)
    }
}

/// Reads a quantity from text; a bare number is refused with a hint.
pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    kind: &'static str,
    units: Units,
    example: &'static str,
) -> Result<f64, D::Error> {
    struct Visitor(&'static str, Units, &'static str);
    impl Visitor {
        fn bare<E: serde::de::Error>(&self, number: impl fmt::Display) -> E {
            let Self(kind, _, example) = self;
            E::custom(format!(
                "`{number}` has no unit; write {kind} as text with its unit, such as \"{example}\""
            ))
        }
    }
    impl serde::de::Visitor<'_> for Visitor {
        type Value = f64;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "{} as text with its unit, such as \"{}\"", self.0, self.2)
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
            parse(text, self.0, self.1).map_err(E::custom)
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<f64, E> {
            Err(self.bare(number))
        }
        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<f64, E> {
            Err(self.bare(number))
        }
        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<f64, E> {
            Err(self.bare(number))
        }
    }
    deserializer.deserialize_any(Visitor(kind, units, example))
}

#[cfg(test)]
mod tests {
    use crate::units::{Bytes, BytesPerSecond, Seconds};

    #[test]
    fn reads_bits_bytes_and_binary_sizes_apart() {
        assert_eq!("80 GiB".parse::<Bytes>().unwrap().value(), 80.0 * 1024f64.powi(3));
        assert_eq!("80GB".parse::<Bytes>().unwrap().value(), 80e9);
        assert_eq!("400 Gbit/s".parse::<BytesPerSecond>().unwrap().value(), 50e9);
        assert_eq!("1.5e3 us".parse::<Seconds>().unwrap().value(), 1.5e-3);
    }

    #[test]
    fn says_what_is_accepted() {
        let message = "80 Gb".parse::<Bytes>().unwrap_err().to_string();
        assert!(message.contains("did you mean `GB`?"), "{message}");
        let message = "80".parse::<Bytes>().unwrap_err().to_string();
        assert!(message.contains("no unit"), "{message}");
        assert!("-3 s".parse::<Seconds>().is_err());
        assert!("é s".parse::<Seconds>().is_err());
        assert!("inf s".parse::<Seconds>().is_err());
    }

    #[test]
    fn prints_for_people_and_exactly_for_files() {
        assert_eq!(Bytes::new(80.0 * 1024f64.powi(3)).to_string(), "80.00 GiB");
        assert_eq!(Seconds::new(0.0123456).to_string(), "12.35 ms");
        assert_eq!(format!("{:.0}", Bytes::new(80.0 * 1024f64.powi(3))), "80 GiB");
        assert_eq!(serde_json::to_string(&BytesPerSecond::new(50e9)).unwrap(), "\"50 GB/s\"");
        assert_eq!(serde_json::to_string(&Bytes::new(80e9)).unwrap(), "\"80 GB\"");
    }
}
