//! Tables of dispatch and combine of mixtures of experts.

use super::{Measured, Observation, fingerprint};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row, Table};
use crate::cost::{AllToAllForm, AllToAllShape};
use crate::work::DType;

/// Bytes of an element and of its share of a scale: fp8 has an fp32 for each 128, nvfp4 an fp8 for
/// each 16.
fn element_bytes(row: &Row<'_>, dtype: &str) -> Result<f64, Fault> {
    Ok(match dtype {
        "fp8" => 1.0 + 4.0 / 128.0,
        "nvfp4" => 0.5 + 1.0 / 16.0,
        "bfloat16" | "bf16" | "float16" | "fp16" => 2.0,
        other => {
            return Err(row.fault(format!(
                "dispatch_dtype is {other:?}; must be fp8, nvfp4, bfloat16 or float16"
            )));
        }
    })
}

/// Ending of the case of rows that cross nodes: other kernels than those of one node.
const ACROSS: &str = "across nodes";

impl Measured for AllToAllForm {
    const COLUMNS: &'static [&'static str] = &[
        "kernel",
        "gpus",
        "gpus_per_node",
        "tokens_per_rank",
        "hidden",
        "topk",
        "experts",
        "dispatch_dtype",
        "dispatch_us",
        "combine_us",
    ];

    /// Both directions of a row; what comes back is 16-bit.
    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<AllToAllShape>>, Fault> {
        let kernel = row.wanted("kernel")?;
        let dtype = row.wanted("dispatch_dtype")?;
        let hidden = row.count("hidden")?;
        let (gpus, per_node) = (row.count("gpus")?, row.count("gpus_per_node")?);
        if gpus < 2.0 {
            return Err(row.fault(format!("gpus is {gpus}; an exchange has two or more")));
        }
        let sms = row.text("comm_sms").map_or(Ok(0.0), |_| row.number("comm_sms"))?;
        let nodes = (gpus / per_node).ceil();
        let dispatch = AllToAllShape {
            ranks: gpus,
            nodes,
            tokens: row.count("tokens_per_rank")?,
            token_bytes: hidden * element_bytes(row, dtype)?,
            topk: row.count("topk")?,
            experts: row.count("experts")?,
            sms: sms.max(0.0),
        };
        let combine = AllToAllShape { token_bytes: hidden * 2.0, ..dispatch };
        let far = if nodes > 1.0 { format!(", {ACROSS}") } else { String::new() };
        let seen = |phase: &str, shape, time_us| Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: dtype.to_owned(),
            case: format!("{kernel} {phase}{far}"),
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands: DType::Fp16,
            shape,
            time_us,
        };
        Ok(vec![
            seen("dispatch", dispatch, row.time_us("dispatch_us")?),
            seen("combine", combine, row.time_us("combine_us")?),
        ])
    }

    fn recognises(table: &Table) -> bool {
        Self::COLUMNS.iter().all(|column| table.has(column))
    }

    /// As many tokens as a microbatch has.
    fn is_training(shape: &AllToAllShape) -> bool {
        shape.tokens >= 1024.0
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..60 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.3 },
            60..200 => Growth { trees: 40, depth: 3, rate: 0.15, ridge: 2.0, clip: 0.3 },
            _ => Growth { trees: 80, depth: 5, rate: 0.12, ridge: 2.0, clip: 0.3 },
        }
    }

    fn split_key(shape: &AllToAllShape) -> u64 {
        let AllToAllShape { ranks, tokens, token_bytes, topk, experts, sms, .. } = shape;
        fingerprint(&format!("{ranks}|{tokens}|{token_bytes}|{topk}|{experts}|{sms}"))
    }
}
