//! What NVTX ranges carry beside their names: fields with names, as JSON or as bytes.
//!
//! Bytes are laid out by the tables of schemas; in front of them stand, 32 bits each unless said,
//! domain, 0, schema, 0, the length of the payload (64), and that with this head (64).

use rustc_hash::FxHashMap;
use serde_json::Value;
use std::collections::BTreeMap;

use super::database::Database;

/// Bytes in front of a payload.
const HEAD_BYTES: usize = 32;

/// Fields by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Payload {
    numbers: BTreeMap<String, u64>,
}

impl Payload {
    /// A field that is a number.
    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.numbers.get(field).copied()
    }

    /// Fields of a JSON object, in whichever object they are.
    pub(super) fn of_json(text: &str) -> Self {
        let mut payload = Self::default();
        if let Ok(value) = serde_json::from_str(text) {
            payload.collect(&value);
        }
        payload
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let text = || value.as_str()?.trim().parse().ok();
                    match value.as_u64().or_else(text) {
                        Some(number) => {
                            self.numbers.insert(name.clone(), number);
                        }
                        None => self.collect(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }
}

/// A field of a schema.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    offset: usize,
    bytes: usize,
}

/// Layouts of payloads by domain and schema.
#[derive(Default)]
pub(super) struct Schemas {
    fields: FxHashMap<(u64, u64), Vec<Field>>,
}

impl Schemas {
    /// Reads the tables of schemas; none where the export has none.
    pub(super) fn read(database: &Database, faults: &mut Vec<String>) -> Self {
        let mut schemas = Self::default();
        let table = "NVTX_PAYLOAD_SCHEMA_ENTRIES";
        let needed = ["domainId", "schemaId", "type", "name"];
        let read = database.rows(table, &needed, &["offset", "nameId"], |row| {
            let named = row.int(5).and_then(|id| database.string(id));
            let (Some(domain), Some(schema), Some(bytes), Some(name)) = (
                row.count(0),
                row.count(1),
                row.int(2).and_then(number_bytes),
                row.text(3).or(named.as_deref()),
            ) else {
                return;
            };
            // The first field is at no offset.
            let offset = row.count(4).unwrap_or(0) as usize;
            let field = Field { name: name.to_owned(), offset, bytes };
            schemas.fields.entry((domain, schema)).or_default().push(field);
        });
        faults.extend(read.err());
        schemas
    }

    /// Fields of a payload of bytes; none where it is not laid out as expected.
    pub(super) fn payload(&self, bytes: &[u8]) -> Payload {
        let word = |at: usize| number(bytes, at, 4);
        let long = |at: usize| number(bytes, at, 8);
        let whole = bytes.len() as u64;
        let is_whole = long(24) == Some(whole) && long(16) == whole.checked_sub(HEAD_BYTES as u64);
        let key = word(0).zip(word(8)).filter(|_| is_whole);
        let fields = key.and_then(|key| self.fields.get(&key));
        let read = |field: &Field| {
            let at = HEAD_BYTES.checked_add(field.offset)?;
            Some((field.name.clone(), number(bytes, at, field.bytes)?))
        };
        Payload { numbers: fields.into_iter().flatten().filter_map(read).collect() }
    }
}

/// Bytes of a number that is not negative, by its type (`NVTX_PAYLOAD_ENTRY_TYPE_` of
/// `nvToolsExtPayload.h`): `int` and `int32_t` with and without a sign; `int64_t`, `uint64_t` and
/// `size_t`. Other types are
/// of no interest.
fn number_bytes(kind: i64) -> Option<usize> {
    match kind {
        5 | 6 | 15 | 16 => Some(4),
        17 | 18 | 22 => Some(8),
        _ => None,
    }
}

/// A little-endian number at a place.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
