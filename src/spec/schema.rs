//! JSON Schema of a scenario as people write it, for editors.

use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

use super::{Cluster, Fit, Gpu, Kind, Model, Scenario, Stack};

/// Parts of a scenario that may be named, and their definitions.
const NAMED_PARTS: [(&str, &str, Kind); 4] = [
    ("model", "Model", Kind::Model),
    ("cluster", "Cluster", Kind::Cluster),
    ("stack", "Stack", Kind::Stack),
    ("fit", "Fit", Kind::Fit),
];

/// JSON Schema of a scenario file: parts by name, as tables, or as tables with a `base`.
pub fn scenario_schema() -> Value {
    let mut schema = as_json(schema_for!(Scenario));
    allow_named_gpu(&mut schema, "Cluster");
    for (key, definition, kind) in NAMED_PARTS {
        allow_named(&mut schema, &["properties", key], definition, kind);
    }
    schema
}

/// JSON Schema of one data file, such as a model or a GPU; of a scenario for that kind.
pub fn part_schema(kind: Kind) -> Value {
    let mut schema = match kind {
        Kind::Model => as_json(schema_for!(Model)),
        Kind::Gpu => as_json(schema_for!(Gpu)),
        Kind::Fit => as_json(schema_for!(Fit)),
        Kind::Stack => as_json(schema_for!(Stack)),
        Kind::Scenario => return scenario_schema(),
        Kind::Cluster => {
            let mut schema = as_json(schema_for!(Cluster));
            allow_named(&mut schema, &["properties", "gpu"], "Gpu", Kind::Gpu);
            return schema;
        }
    };
    // A data file may stand on another one; then all its keys are optional.
    if let Some(object) = schema.as_object_mut() {
        let required = object.remove("required").unwrap_or_else(|| json!([]));
        object.insert("anyOf".into(), json!([{"required": required}, {"required": ["base"]}]));
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("base".into(), name_schema(kind));
        }
    }
    schema
}

fn as_json(schema: Schema) -> Value {
    schema.to_value()
}

fn name_schema(kind: Kind) -> Value {
    let description = format!(
        "Name of a {} (`stepcast list {}`), or path of a file that ends in .toml",
        kind.name(),
        kind.plural()
    );
    json!({"type": "string", "description": description})
}

/// Lets the cluster definition name its GPU.
fn allow_named_gpu(schema: &mut Value, cluster: &str) {
    allow_named(schema, &["$defs", cluster, "properties", "gpu"], "Gpu", Kind::Gpu);
}

/// Replaces the property at `path` by name, table or table with base.
fn allow_named(schema: &mut Value, path: &[&str], definition: &str, kind: Kind) {
    let based_name = format!("{definition}WithBase");
    let Some(whole) = schema.pointer(&format!("/$defs/{definition}")).cloned() else { return };
    let based = based(whole, kind);
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.insert(based_name.clone(), based);
    }
    let Some(property) = schema.pointer_mut(&format!("/{}", path.join("/"))) else { return };
    let mut replaced = Map::new();
    if let Some(description) = property.get("description") {
        replaced.insert("description".into(), description.clone());
    }
    replaced.insert(
        "anyOf".into(),
        json!([
            name_schema(kind),
            {"$ref": format!("#/$defs/{definition}")},
            {"$ref": format!("#/$defs/{based_name}")},
        ]),
    );
    *property = Value::Object(replaced);
}

/// The definition with a required `base` and everything else optional.
fn based(mut definition: Value, kind: Kind) -> Value {
    if let Some(object) = definition.as_object_mut() {
        object.insert("required".into(), json!(["base"]));
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("base".into(), name_schema(kind));
            // Over a named GPU single keys may be given without repeating its name.
            if let Some(gpu) = properties.get_mut("gpu").and_then(|gpu| gpu.get_mut("anyOf"))
                && let Some(choices) = gpu.as_array_mut()
            {
                choices.push(json!({"type": "object"}));
            }
        }
    }
    definition
}
