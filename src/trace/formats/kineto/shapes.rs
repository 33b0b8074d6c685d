//! Shapes of the arguments of an operator.

use serde_json::Value;

use super::arguments::Rare;

/// Shapes and formats of arguments, where there are any. An argument that is a list of tensors is
/// as many arguments of the same format.
pub(super) fn of(rare: &Rare<'_>) -> Option<(Vec<Vec<u64>>, Vec<String>)> {
    let Some(Value::Array(arguments)) = &rare.shapes else { return None };
    let dtypes = match &rare.dtypes {
        Some(Value::Array(dtypes)) => dtypes.as_slice(),
        _ => &[],
    };
    let (mut shapes, mut names) = (Vec::new(), Vec::new());
    for (index, argument) in arguments.iter().enumerate() {
        let before = shapes.len();
        tensors(argument, &mut shapes);
        let dtype = dtypes.get(index).and_then(Value::as_str).unwrap_or_default();
        names.extend((before..shapes.len()).map(|_| dtype.to_owned()));
    }
    (!shapes.is_empty()).then_some((shapes, names))
}

/// A tensor's lengths, or those of each tensor of a list.
fn tensors(argument: &Value, shapes: &mut Vec<Vec<u64>>) {
    let Value::Array(parts) = argument else { return shapes.push(Vec::new()) };
    if parts.iter().any(Value::is_array) {
        parts.iter().for_each(|part| tensors(part, shapes));
    } else {
        shapes.push(parts.iter().filter_map(Value::as_u64).collect());
    }
}
