//! Reads typed parts and says what is wrong with them, in a person's words.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::decode::{DecodeError, Fault, Step, decode, remove};
use super::suggest;
use super::tree::{Node, Value};
use crate::spec::Scenario;
use crate::spec::problem::Problem;

/// [`typed`] with nothing told before.
pub(super) fn typed_part<T: DeserializeOwned + JsonSchema>(
    key: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    typed(key, node, problems, &[])
}

/// Reads a part; takes out what is wrong and reads again until all faults are told. `None` when
/// there was one. Keys in `told` are missing for reasons already told.
pub(super) fn typed<T: DeserializeOwned + JsonSchema>(
    part: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
    told: &[&str],
) -> Option<T> {
    let mut rest = node.clone();
    let mut gone: Vec<String> = told.iter().map(|&key| key.to_owned()).collect();
    let mut is_clean = told.is_empty();
    loop {
        let error = match decode::<T>(&rest) {
            Ok(value) => return is_clean.then_some(value),
            Err(error) => error,
        };
        is_clean = false;
        if let Fault::Missing(first) = &error.fault {
            let mut missing = required_keys::<T>();
            if missing.is_empty() {
                missing.push((*first).to_owned());
            }
            missing.retain(|key| {
                !gone.contains(key) && rest.table().is_none_or(|table| !table.contains_key(key))
            });
            if !missing.is_empty() {
                problems.push(missing_keys(part, &missing).at(Some(node.place.clone())));
            }
            return None;
        }
        problems.push(fault_problem(part, node, &error));
        let Value::Table(table) = &mut rest.value else { return None };
        gone.push(remove(table, &error)?);
    }
}

fn required_keys<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::schema_for!(T);
    let required = schema.get("required").and_then(|required| required.as_array());
    let keys = required.into_iter().flatten().filter_map(|key| key.as_str());
    keys.map(str::to_owned).collect()
}

fn missing_keys(part: &str, missing: &[String]) -> Problem {
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    let noun = if names.len() == 1 { "key" } else { "keys" };
    let message = format!("misses the {noun} {}", suggest::listed(&names, 50));
    let problem = Problem::new(part, message);
    match part {
        "plan" | "training" => problem,
        _ => problem.hint("write `base = \"NAME\"` in the table to take the rest from a named one"),
    }
}

/// A key that the part does not have.
pub(super) fn unknown_key(part: &str, key: &str, allowed: &[&str]) -> Problem {
    let full = if part.is_empty() { key.to_owned() } else { format!("{part}.{key}") };
    let problem =
        Problem::new(full, format!("unknown key; allowed are {}", suggest::listed(allowed, 60)));
    if let Some(near) = suggest::nearest(key, allowed.iter().copied()) {
        return problem.hint(format!("did you mean `{near}`?"));
    }
    match owner(key) {
        Some(owner) if owner != part => problem.hint(format!("`{key}` belongs in [{owner}]")),
        _ => problem,
    }
}

/// The part that has a key of this name.
fn owner(key: &str) -> Option<&'static str> {
    let schema = schemars::schema_for!(Scenario);
    let definitions = schema.get("$defs")?.as_object()?;
    let parts = [
        ("plan", "Plan"),
        ("training", "Training"),
        ("stack", "Stack"),
        ("model", "Model"),
        ("cluster", "Cluster"),
        ("cluster.gpu", "Gpu"),
        ("fit", "Fit"),
    ];
    parts.into_iter().find_map(|(part, definition)| {
        definitions.get(definition)?.get("properties")?.get(key).map(|_| part)
    })
}

/// What an error of decoding means to a person, and where.
fn fault_problem(part: &str, node: &Node, error: &DecodeError) -> Problem {
    let mut key = part.to_owned();
    let mut value = node;
    for step in error.path() {
        let inner = match step {
            Step::Key(name) => {
                key = format!("{key}.{name}");
                value.table().and_then(|table| table.get(name)).map(|entry| &entry.node)
            }
            Step::Index(index) => {
                key = format!("{key}[{index}]");
                match &value.value {
                    Value::Array(items) => items.get(*index),
                    _ => None,
                }
            }
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    let found = value.summary();
    let problem = match &error.fault {
        Fault::UnknownKey { key: unknown, allowed } => {
            let entry = value.table().and_then(|table| table.get(unknown));
            let at = entry.map_or(&value.place, |entry| &entry.key_place);
            return unknown_key(&key, unknown, allowed).at(Some(at.clone()));
        }
        Fault::UnknownVariant { found: wrong, allowed } => {
            let message = format!("unknown name; allowed are {}", suggest::listed(allowed, 40));
            let problem = Problem::new(key, message).found(found);
            match suggest::nearest(wrong, allowed.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem,
            }
        }
        Fault::Missing(missing) => Problem::new(key, format!("misses the key `{missing}`")),
        Fault::WrongType { expected } => type_problem(key, value, expected),
        Fault::Other(message) => Problem::new(key, message.clone()).found(found),
    };
    problem.at(Some(value.place.clone()))
}

fn type_problem(key: String, value: &Node, expected: &str) -> Problem {
    let problem = Problem::new(key, format!("must be {expected}")).found(value.summary());
    match &value.value {
        Value::Text(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            problem.hint(format!("write {text} without quotes"))
        }
        Value::Text(text) if matches!(text.as_str(), "true" | "false") => {
            problem.hint(format!("write {text} without quotes"))
        }
        Value::Float(number) if expected.contains("whole") && number.fract() == 0.0 => {
            problem.hint(format!("write {number:.0}"))
        }
        _ => problem,
    }
}
