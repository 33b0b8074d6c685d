//! Tables of GEMM timings.

use super::{Measured, Observation};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row};
use crate::cost::{GemmForm, GemmShape};
use crate::work::{DType, GemmLayout};

/// Format of operands and case of a table's name for a format, bytes of an operand, and whether
/// the time holds the quantisation of the activation.
fn format(row: &Row<'_>, dtype: &str) -> Result<(DType, &'static str, bool), Fault> {
    Ok(match dtype {
        // The same rate and bytes: one model.
        "bf16" | "fp16" | "bfloat16" | "float16" | "half" => (DType::Bf16, "16-bit", false),
        "tf32" => (DType::Tf32, "tf32", false),
        "fp8" => (DType::Fp8, "fp8", false),
        "fp8_rowwise" => (DType::Fp8Rowwise, "fp8 rowwise", false),
        "fp8_block" | "fp8_blockwise" => (DType::Fp8Blockwise, "fp8 blockwise", false),
        "fp8_rowwise_q" => (DType::Fp8Rowwise, "fp8 rowwise, quantising", true),
        "fp8_block_q" => (DType::Fp8Blockwise, "fp8 blockwise, quantising", true),
        "mxfp8" => (DType::Mxfp8, "mxfp8", false),
        "nvfp4" => (DType::Nvfp4, "nvfp4", false),
        other => {
            return Err(row.fault(format!(
                "dtype is {other:?}; must be bf16, fp16, tf32, fp8, fp8_rowwise, fp8_block, mxfp8, \
                 nvfp4, or fp8_rowwise_q, fp8_block_q where the time holds the quantisation"
            )));
        }
    })
}

/// Ending of the case of rows that name a layout: sustained training shapes.
const LAYOUTS: &str = "training layouts";

impl Measured for GemmForm {
    const COLUMNS: &'static [&'static str] = &["dtype", "m", "n", "k", "time_us"];

    fn recognises(table: &crate::calibrate::Table) -> bool {
        // Tables of grouped GEMMs have these columns too.
        Self::COLUMNS.iter().all(|column| table.has(column)) && !table.has("groups")
    }

    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<GemmShape>>, Fault> {
        let dtype = row.wanted("dtype")?;
        let (operands, case, quantises) = format(row, dtype)?;
        let layout = match row.text("layout") {
            None | Some("TN") => GemmLayout::Tn,
            Some("NN") => GemmLayout::Nn,
            Some("NT") => GemmLayout::Nt,
            Some(other) => {
                return Err(row.fault(format!("layout is {other:?}; must be TN, NN or NT")));
            }
        };
        let accumulates = row.text("accumulate").map_or(Ok(false), |_| row.flag("accumulate"))?;
        let result_bytes = match row.text("out_dtype") {
            Some("fp32") => 4.0,
            _ => 2.0,
        };
        let batch = row.text("batch").map_or(Ok(1.0), |_| row.count("batch"))?;
        if batch != 1.0 {
            return Err(row.fault(format!("batch is {batch}; batched products are not learned")));
        }
        let is_training = row.text("layout").is_some();
        let case = if is_training { format!("{case}, {LAYOUTS}") } else { case.to_owned() };
        let shape = GemmShape {
            m: row.count("m")?,
            n: row.count("n")?,
            k: row.count("k")?,
            layout,
            operand_bytes: operands.bytes(),
            result_bytes: result_bytes * if accumulates { 2.0 } else { 1.0 },
            quantises,
            sustained: is_training,
        };
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: dtype.to_owned(),
            case,
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands,
            shape,
            time_us: row.time_us("time_us")?,
        }])
    }

    fn flops(shape: &GemmShape) -> f64 {
        2.0 * shape.m * shape.n * shape.k
    }

    fn bytes(shape: &GemmShape) -> Option<f64> {
        let GemmShape { m, n, k, operand_bytes, result_bytes, .. } = shape;
        Some((m * k + n * k) * operand_bytes + m * n * result_bytes)
    }

    /// As the validation of this project defines it: shapes of linear layers in training.
    fn is_training(shape: &GemmShape) -> bool {
        shape.m >= 1024.0 && shape.n >= 512.0 && shape.k >= 512.0
    }

    fn stand_ins(case: &str) -> Vec<String> {
        match case.strip_suffix(&format!(", {LAYOUTS}")) {
            Some(short) => vec![short.to_owned()],
            None => Vec::new(),
        }
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..200 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.3 },
            200..1000 => Growth { trees: 60, depth: 4, rate: 0.15, ridge: 3.0, clip: 0.2 },
            // A tenth is the scatter of one shape between versions: more is a library's odd choice.
            _ => Growth { trees: 150, depth: 6, rate: 0.17, ridge: 5.0, clip: 0.12 },
        }
    }
}
