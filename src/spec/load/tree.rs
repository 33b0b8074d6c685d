//! TOML as a tree whose every key and value knows where it was written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::spec::problem::{Place, Problem, SourceFile};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Entries of a table by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// An empty table that stands for something not written, placed at `place`.
    pub(super) fn empty_table(place: Place) -> Self {
        Self { value: Value::Table(Table::new()), place }
    }

    /// The table, if it is one.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a person would write it, short.
    pub(super) fn summary(&self) -> String {
        let text = match &self.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::Boolean(truth) => truth.to_string(),
            Value::Date(date) => date.clone(),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::summary).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Table(_) => "a table".to_owned(),
        };
        match text.char_indices().nth(60) {
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text,
        }
    }

    /// Where the value of a dotted key is written; that of the nearest key above it when it is not.
    pub(super) fn find(&self, keys: &[&str]) -> &Place {
        let mut node = self;
        let mut place = &self.place;
        for key in keys {
            let Some(entry) = node.table().and_then(|table| table.get(*key)) else { break };
            node = &entry.node;
            place = match node.value {
                Value::Table(_) => &entry.key_place,
                _ => &node.place,
            };
        }
        place
    }
}

/// Parses a whole TOML text.
///
/// # Errors
/// All syntax errors.
pub(super) fn parse(file: &Arc<SourceFile>) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax_problem(file, error)).collect());
    }
    let reader = Reader { file, offset: 0 };
    Ok(Node { value: reader.table(table.get_ref()), place: reader.place(0..0) })
}

fn syntax_problem(file: &Arc<SourceFile>, error: &toml::de::Error) -> Problem {
    let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
    let place = error.span().map(|span| Place { file: Arc::clone(file), span });
    Problem::new("", message).at(place.or(Some(Place { file: Arc::clone(file), span: 0..0 })))
}

/// Reads the value of `--set key=value`, which starts at `offset` of `file`: TOML, else plain text.
pub(super) fn parse_argument(file: &Arc<SourceFile>, offset: usize) -> Node {
    let text = &file.text[offset..];
    let reader = Reader { file, offset };
    match DeValue::parse(text) {
        Ok(value) => reader.node(&value),
        Err(_) => Node { value: Value::Text(text.to_owned()), place: reader.place(0..text.len()) },
    }
}

struct Reader<'a> {
    file: &'a Arc<SourceFile>,
    /// Where the parsed text starts in the file.
    offset: usize,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let span = span.start + self.offset..span.end + self.offset;
        Place { file: Arc::clone(self.file), span }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let read = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    // Beyond any count of ours: as a float it is refused as such.
                    Err(_) => Value::Float(f64::INFINITY),
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Node { value: read, place: self.place(value.span()) }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let entry = Entry { key_place: self.place(key.span()), node: self.node(value) };
            (name.clone().into_owned(), entry)
        };
        Value::Table(table.iter().map(entry).collect())
    }
}
