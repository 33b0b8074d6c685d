//! Tables of attention timings: forward, and backward beside its forward.

use super::{Measured, Observation, fingerprint};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row, Table};
use crate::cost::{
    AttentionBackward, AttentionBackwardShape, AttentionForward, AttentionShape, attention_case,
};
use crate::work::DType;

/// Prefix of the source of rows that a serving framework timed, with the write to its cache.
const FRAMEWORK: &str = "aic:";

/// What tells families in the names of kernels, and the family's name; the first that is found.
const FAMILIES: &[(&str, &str)] = &[
    ("fp32 atomics", "asm fp32-atomics"),
    ("trtllm", "trtllm"),
    ("cudnn", "cudnn"),
    ("flash_attention_v4", "flash4"),
    ("fa4", "flash4"),
    ("flash4", "flash4"),
    ("fa3", "flash3"),
    ("flash3", "flash3"),
    ("te/fa sdpa", "sdpa"),
    ("sdpa", "sdpa"),
    ("fa2", "flash2"),
    ("flash2", "flash2"),
    ("flash1", "flash1"),
    ("asm", "asm"),
];

/// The family of a row: what the column `family` says, else the note, else the kernel that the
/// source ends with.
fn family(row: &Row<'_>) -> &'static str {
    let source = row.text("source").and_then(|source| source.rsplit(':').next());
    [row.text("family"), row.text("note"), source]
        .into_iter()
        .flatten()
        .find_map(|text| {
            let text = text.to_lowercase();
            FAMILIES.iter().find(|(part, _)| text.contains(part)).map(|(_, name)| *name)
        })
        .unwrap_or("other")
}

/// The format of the operands; 16-bit ones have the same rate and bytes and so one model.
fn format(row: &Row<'_>) -> Result<&'static str, Fault> {
    match row.wanted("dtype")? {
        "bf16" | "fp16" | "bfloat16" | "float16" | "half" => Ok("16-bit"),
        other => Err(row.fault(format!("dtype is {other:?}; must be bf16 or fp16"))),
    }
}

/// Whether a row's time includes writing keys and values to a cache.
fn stores_cache(row: &Row<'_>, causal: bool) -> Result<bool, Fault> {
    if row.text("cache_store").is_some() {
        return row.flag("cache_store");
    }
    Ok(causal && row.text("source").is_some_and(|source| source.starts_with(FRAMEWORK)))
}

fn forward_shape(row: &Row<'_>, cache_store: bool) -> Result<AttentionShape, Fault> {
    let seq = row.count("seq")?;
    Ok(AttentionShape {
        batch: row.count("batch")?,
        query_length: seq,
        key_length: row.text("key_seq").map_or(Ok(seq), |_| row.count("key_seq"))?,
        heads: row.count("heads")?,
        kv_heads: row.count("kv_heads")?,
        head_dim: row.count("head_dim")?,
        causal: row.flag("causal")?,
        cache_store,
    })
}

/// As the validation of this project defines it.
fn is_training(causal: bool, head_dim: f64, query_length: f64) -> bool {
    causal && head_dim == 128.0 && query_length >= 1024.0
}

impl Measured for AttentionForward {
    const COLUMNS: &'static [&'static str] =
        &["dtype", "batch", "seq", "heads", "kv_heads", "head_dim", "causal", "time_us"];

    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<AttentionShape>>, Fault> {
        let format = format(row)?;
        let causal = row.flag("causal")?;
        let cache_store = stores_cache(row, causal)?;
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: row.wanted("dtype")?.to_owned(),
            case: attention_case(format, family(row), causal, cache_store),
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands: DType::Bf16,
            shape: forward_shape(row, cache_store)?,
            time_us: row.time_us("time_us")?,
        }])
    }

    fn flops(shape: &AttentionShape) -> f64 {
        let scores = shape.batch * shape.heads * shape.query_length * shape.key_length;
        scores * shape.head_dim * if shape.causal { 2.0 } else { 4.0 }
    }

    fn bytes(shape: &AttentionShape) -> Option<f64> {
        let AttentionShape { query_length, key_length, heads, kv_heads, .. } = shape;
        // Queries, keys, values and output once, in 16 bits.
        let rows = 2.0 * (heads * query_length + kv_heads * key_length);
        Some(2.0 * shape.batch * shape.head_dim * rows)
    }

    fn is_training(shape: &AttentionShape) -> bool {
        is_training(shape.causal, shape.head_dim, shape.query_length)
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..200 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.3 },
            200..1000 => Growth { trees: 40, depth: 3, rate: 0.1, ridge: 5.0, clip: 0.3 },
            _ => Growth { trees: 100, depth: 6, rate: 0.12, ridge: 3.0, clip: 0.3 },
        }
    }
}

/// The forward of a row: its own, else that of the first row of the same GPU and sizes.
fn forward_us(row: &Row<'_>) -> Result<f64, Fault> {
    if row.text("fwd_us").is_some() {
        return row.time_us("fwd_us");
    }
    let sizes = |row: &Row<'_>| {
        AttentionBackward::COLUMNS
            .iter()
            .chain(&["gpu", "v_head_dim"])
            .filter(|column| !column.ends_with("_us"))
            .map(|column| row.text(column).unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let own = sizes(row);
    let other =
        row.table.rows().find(|other| other.text("fwd_us").is_some() && sizes(other) == own);
    match other {
        Some(other) => other.time_us("fwd_us"),
        None => {
            Err(row.fault("no row of the same sizes has fwd_us; backward is told from forward"))
        }
    }
}

impl Measured for AttentionBackward {
    const COLUMNS: &'static [&'static str] =
        &["dtype", "batch", "seq", "heads", "kv_heads", "head_dim", "causal", "fwd_us", "bwd_us"];

    fn recognises(table: &Table) -> bool {
        Self::COLUMNS.iter().all(|column| table.has(column))
    }

    fn observe(
        row: &Row<'_>,
        gpu: &str,
    ) -> Result<Vec<Observation<AttentionBackwardShape>>, Fault> {
        if row.text("bwd_us").is_none() {
            return Ok(Vec::new());
        }
        let format = format(row)?;
        let forward = forward_shape(row, false)?;
        let deterministic = row.text("note").is_some_and(|note| note.contains("deterministic"));
        let value_head_dim =
            row.text("v_head_dim").map_or(Ok(forward.head_dim), |_| row.count("v_head_dim"))?;
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: row.wanted("dtype")?.to_owned(),
            case: format!("{format} {}", family(row)),
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands: DType::Bf16,
            shape: AttentionBackwardShape {
                batch: forward.batch,
                query_length: forward.query_length,
                key_length: forward.key_length,
                heads: forward.heads,
                kv_heads: forward.kv_heads,
                head_dim: forward.head_dim,
                value_head_dim,
                causal: forward.causal,
                deterministic,
                forward_us: forward_us(row)?,
            },
            time_us: row.time_us("bwd_us")?,
        }])
    }

    fn flops(shape: &AttentionBackwardShape) -> f64 {
        let scores = shape.batch * shape.heads * shape.query_length * shape.key_length;
        let products = 6.0 * shape.head_dim + 4.0 * shape.value_head_dim;
        scores * products * if shape.causal { 0.5 } else { 1.0 }
    }

    fn is_training(shape: &AttentionBackwardShape) -> bool {
        is_training(shape.causal, shape.head_dim, shape.query_length)
    }

    fn stand_ins(case: &str) -> Vec<String> {
        // Few rows of few families: what another family does on this GPU, or this one on another.
        let (format, family) = case.split_once(' ').unwrap_or((case, ""));
        ["flash3", "sdpa", "asm", "flash2"]
            .iter()
            .filter(|other| **other != family && !matches!(family, "sdpa" | "asm"))
            .map(|other| format!("{format} {other}"))
            .collect()
    }

    fn growth(_: usize) -> Growth {
        // Nothing on top of seven parameters: the tables are short.
        Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.3 }
    }

    fn split_key(shape: &AttentionBackwardShape) -> u64 {
        // Not by the forward's time, which differs between rows of one shape.
        fingerprint(&format!("{:?}", AttentionBackwardShape { forward_us: 0.0, ..*shape }))
    }
}

#[cfg(test)]
mod tests;
