//! From a located tree to a typed part, with every fault found and none guessed from message text.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use std::fmt;

use super::tree::{Node, Table, Value};

/// What a part cannot be read for.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    UnknownKey { key: String, allowed: &'static [&'static str] },
    UnknownVariant { found: String, allowed: &'static [&'static str] },
    Missing(&'static str),
    WrongType { expected: String },
    Other(String),
}

/// A fault and where in the tree it is: keys from the part's root, indices of arrays as text.
#[derive(Clone, Debug)]
pub(super) struct DecodeError {
    /// From the inside out while the error travels up.
    path: Vec<Step>,
    pub(super) fault: Fault,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl DecodeError {
    fn new(fault: Fault) -> Self {
        Self { path: Vec::new(), fault }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// From the root inwards.
    pub(super) fn path(&self) -> impl Iterator<Item = &Step> {
        self.path.iter().rev()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.fault)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Fault::Other(message.to_string()))
    }
    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Fault::WrongType { expected: plain(&expected.to_string()) })
    }
    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Fault::WrongType { expected: plain(&expected.to_string()) })
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownKey { key: field.to_owned(), allowed: expected })
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownVariant { found: variant.to_owned(), allowed: expected })
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(Fault::Missing(field))
    }
}

/// Rust's names of types, for people.
fn plain(expected: &str) -> String {
    match expected {
        "u64" => "a whole number of at least 0",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        other => return other.trim_start_matches("struct ").to_owned(),
    }
    .to_owned()
}

/// Reads a typed part from its tree.
///
/// # Errors
/// The first fault that serde meets.
pub(super) fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, DecodeError> {
    T::deserialize(Reader(node))
}

struct Reader<'a>(&'a Node);

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(de::Error::custom("the number is far too large")),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::Date(date) => Err(de::Error::invalid_type(Unexpected::Other(date), &visitor)),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Table(table) => visitor.visit_map(Entries { left: table.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Text(text) => {
                let name: StrDeserializer<'_, DecodeError> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => Err(DecodeError::new(Fault::WrongType { expected: "a name in quotes".into() })),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let value = seed.deserialize(Reader(item));
        value.map(Some).map_err(|error| error.within(Step::Index(index)))
    }
}

struct Entries<'a> {
    left: std::collections::btree_map::Iter<'a, String, super::tree::Entry>,
    value: Option<(&'a String, &'a Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some((key, entry)) = self.left.next() else { return Ok(None) };
        self.value = Some((key, &entry.node));
        let name: StrDeserializer<'_, DecodeError> = key.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Reader(node)).map_err(|error| error.within(Step::Key(key.clone())))
    }
}

/// Takes out what an error points at, so that the rest can be read; the dotted key that went.
pub(super) fn remove(table: &mut Table, error: &DecodeError) -> Option<String> {
    let mut keys: Vec<&str> = Vec::new();
    for step in error.path() {
        match step {
            Step::Key(key) => keys.push(key),
            // A list goes as a whole: without one item it would say something else.
            Step::Index(_) => break,
        }
    }
    if let Fault::UnknownKey { key, .. } = &error.fault {
        keys.push(key);
    }
    let (last, parents) = keys.split_last()?;
    let mut table = table;
    for key in parents {
        match &mut table.get_mut(*key)?.node.value {
            Value::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.remove(*last)?;
    Some(keys.join("."))
}
