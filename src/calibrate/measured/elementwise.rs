//! Tables of passes over memory: elementwise operations, norms, softmax, casts.

use super::{Measured, Observation};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row};
use crate::cost::{ElementwiseForm, ElementwiseShape};
use crate::work::DType;

/// Bytes an element beyond which sizes are in other units than the table says.
const ELEMENT_BYTES: std::ops::RangeInclusive<f64> = 0.25..=64.0;

/// Format and its name in a case: what is as wide runs as fast.
fn format(row: &Row<'_>, dtype: &str) -> Result<(DType, &'static str), Fault> {
    Ok(match dtype {
        "fp32" | "float32" | "float" => (DType::Fp32, "32-bit"),
        "bf16" | "fp16" | "bfloat16" | "float16" | "half" => (DType::Bf16, "16-bit"),
        "fp8" => (DType::Fp8, "8-bit"),
        other => {
            return Err(row.fault(format!("dtype is {other:?}; must be fp32, bf16, fp16 or fp8")));
        }
    })
}

/// The operation that a row holds, which is not always what it is called.
///
/// An activation of either kind is told by its traffic, since a gated one reads two values for
/// each that it writes. Of the models that vidur@7d47513 measured, phi-2 alone has layer norms
/// instead of RMS norms and adds two branches to its residual: two adds in the time of "add".
fn operation<'a>(row: &Row<'a>, element_bytes: f64, width: f64) -> Result<&'a str, Fault> {
    let is_phi = row.text("source").is_some_and(|source| source.contains("microsoft/phi-2"));
    Ok(match row.wanted("op")? {
        "silu_mul_or_gelu" if element_bytes > 2.5 * width => "silu_mul",
        "silu_mul_or_gelu" => "gelu",
        "rmsnorm" if is_phi => "layernorm",
        "add" if is_phi => "add_twice",
        other => other,
    })
}

impl Measured for ElementwiseForm {
    const COLUMNS: &'static [&'static str] = &["op", "dtype", "rows", "cols", "bytes", "time_us"];

    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<ElementwiseShape>>, Fault> {
        let dtype = row.wanted("dtype")?;
        let (operands, width) = format(row, dtype)?;
        let shape = ElementwiseShape {
            rows: row.count("rows")?,
            columns: row.count("cols")?,
            bytes: row.count("bytes")?,
        };
        let element_bytes = shape.bytes / (shape.rows * shape.columns);
        if !ELEMENT_BYTES.contains(&element_bytes) {
            return Err(row.fault(format!(
                "bytes is {}: {element_bytes:.3} for each of rows x cols elements; must be {} to \
                 {}",
                shape.bytes,
                ELEMENT_BYTES.start(),
                ELEMENT_BYTES.end()
            )));
        }
        let operation = operation(row, element_bytes, operands.bytes())?;
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: dtype.to_owned(),
            case: format!("{operation}, {width}"),
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands,
            shape,
            time_us: row.time_us("time_us")?,
        }])
    }

    fn bytes(shape: &ElementwiseShape) -> Option<f64> {
        Some(shape.bytes)
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..30 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.1 },
            30..150 => Growth { trees: 40, depth: 3, rate: 0.2, ridge: 2.0, clip: 0.1 },
            _ => Growth { trees: 60, depth: 4, rate: 0.2, ridge: 1.0, clip: 0.1 },
        }
    }
}
