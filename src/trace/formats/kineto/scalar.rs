//! A JSON value that should be a number or a text, whichever it was written as.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

/// A number or a text; lists, objects, `null` and truth values are nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Nothing,
    Unsigned(u64),
    Negative(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    /// Whole number; texts that hold one count.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).ok(),
            Self::Negative(value) => Some(*value),
            Self::Real(value) if value.fract() == 0.0 && value.abs() < 2f64.powi(63) => {
                Some(*value as i64)
            }
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whole number that is not negative.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => self.integer().and_then(|value| u64::try_from(value).ok()),
        }
    }

    /// Any number.
    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Negative(value) => Some(*value as f64),
            Self::Real(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
            Self::Nothing => None,
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The same, no longer part of the file.
    pub(super) fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Nothing => Scalar::Nothing,
            Self::Unsigned(value) => Scalar::Unsigned(value),
            Self::Negative(value) => Scalar::Negative(value),
            Self::Real(value) => Scalar::Real(value),
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
        }
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a number or a text")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Real(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}
