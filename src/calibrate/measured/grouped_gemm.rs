//! Tables of grouped GEMM timings: fused layers of experts, and products alone.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Measured, Observation};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row, Table};
use crate::cost::{ExpertLayer, ExpertLoad, GroupedGemmForm, GroupedShape, GroupedWork};
use crate::work::{DType, GemmLayout};

/// Columns of a table of products alone.
const PRODUCT_COLUMNS: [&str; 7] = ["dtype", "stage", "groups", "m_per_group", "n", "k", "time_us"];

/// Ending of the case of products alone.
const PRODUCT: &str = ", product";

/// Endings of the cases of layers, by how even the load is.
const BALANCED: &str = ", balanced";
const SKEWED: &str = ", skewed";

/// Bytes of a result that gradients of weights are added to in fp32, read and written.
const ACCUMULATED_BYTES: f64 = 8.0;

/// Format of the operands, and its name in a case. A layer's times hold the quantisation where
/// there is any.
fn format(row: &Row<'_>, dtype: &str) -> Result<(DType, &'static str), Fault> {
    Ok(match dtype {
        "bf16" | "fp16" | "bfloat16" | "float16" => (DType::Bf16, "16-bit"),
        "fp8" | "fp8_rowwise_q" => (DType::Fp8Rowwise, "fp8 rowwise, quantising"),
        "fp8_block" | "fp8_block_q" => (DType::Fp8Blockwise, "fp8 blockwise, quantising"),
        "mxfp8_q" => (DType::Mxfp8, "mxfp8, quantising"),
        "nvfp4_q" => (DType::Nvfp4, "nvfp4, quantising"),
        other => {
            return Err(row.fault(format!(
                "dtype is {other:?}; must be bf16, fp16, fp8_rowwise_q, fp8_block_q, mxfp8_q or \
                 nvfp4_q"
            )));
        }
    })
}

impl Measured for GroupedGemmForm {
    const COLUMNS: &'static [&'static str] = &[
        "dtype",
        "tokens",
        "hidden",
        "inter",
        "topk",
        "experts",
        "ep",
        "tp",
        "distribution",
        "gated",
        "time_us",
    ];

    fn recognises(table: &Table) -> bool {
        let has_all = |columns: &[&str]| columns.iter().all(|column| table.has(column));
        has_all(Self::COLUMNS) || has_all(&PRODUCT_COLUMNS)
    }

    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<GroupedShape>>, Fault> {
        let dtype = row.wanted("dtype")?;
        let (operands, name) = format(row, dtype)?;
        let (shape, ending) = if row.table.has("m_per_group") {
            (product(row, operands)?, PRODUCT.to_owned())
        } else {
            layer(row, operands)?
        };
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: dtype.to_owned(),
            case: format!("{name}{ending}"),
            source: row.text("source").unwrap_or("unnamed").to_owned(),
            operands,
            shape,
            time_us: row.time_us("time_us")?,
        }])
    }

    fn flops(shape: &GroupedShape) -> f64 {
        shape.flops()
    }

    fn stand_ins(case: &str) -> Vec<String> {
        if let Some(format) = case.strip_suffix(PRODUCT) {
            return vec![format!("{format}{BALANCED}")];
        }
        case.strip_suffix(SKEWED).map(|rest| format!("{rest}{BALANCED}")).into_iter().collect()
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..300 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.1 },
            300..1000 => Growth { trees: 40, depth: 4, rate: 0.15, ridge: 5.0, clip: 0.1 },
            _ => Growth { trees: 120, depth: 6, rate: 0.15, ridge: 1.0, clip: 0.15 },
        }
    }
}

/// A product alone: forward, or the gradient of rows or weights.
fn product(row: &Row<'_>, operands: DType) -> Result<GroupedShape, Fault> {
    let (layout, result_bytes) = match row.wanted("stage")? {
        "fwd" => (GemmLayout::Tn, 2.0),
        "bwd_grad_act" => (GemmLayout::Nn, 2.0),
        "bwd_grad_w" => (GemmLayout::Nt, ACCUMULATED_BYTES),
        other => {
            return Err(
                row.fault(format!("stage is {other:?}; must be fwd, bwd_grad_act or bwd_grad_w"))
            );
        }
    };
    let groups = row.count("groups")?;
    Ok(GroupedShape {
        load: ExpertLoad::balanced(row.count("m_per_group")? * groups, groups),
        work: GroupedWork::Product { n: row.count("n")?, k: row.count("k")?, layout, result_bytes },
        operand_bytes: operands.bytes(),
    })
}

/// A fused layer on the busiest rank, and the ending of its case.
fn layer(row: &Row<'_>, operands: DType) -> Result<(GroupedShape, String), Fault> {
    let (tokens, topk) = (row.count("tokens")?, row.count("topk")?);
    let (experts, ranks) = (row.count("experts")?, row.count("ep")?);
    let (inter, shards) = (row.count("inter")?, row.count("tp")?);
    if ranks > experts || experts % ranks != 0.0 {
        return Err(row.fault(format!("ep is {ranks}; must divide the {experts} experts")));
    }
    if topk > experts {
        return Err(row.fault(format!("topk is {topk}; there are {experts} experts")));
    }
    if shards > inter {
        return Err(row.fault(format!("tp is {shards}; must not be above inter, {inter}")));
    }
    let distribution = row.wanted("distribution")?;
    let (load, ending) = match distribution.strip_prefix("power_law_").map(str::parse::<f64>) {
        None if distribution == "balanced" => {
            (ExpertLoad::balanced(tokens * topk / ranks, experts / ranks), BALANCED)
        }
        Some(Ok(exponent)) if (0.0..=5.0).contains(&exponent) => {
            (skewed([exponent, tokens, topk, experts, ranks]), SKEWED)
        }
        _ => {
            return Err(row.fault(format!(
                "distribution is {distribution:?}; must be balanced or power_law_ and an exponent"
            )));
        }
    };
    let layer = ExpertLayer {
        tokens,
        topk,
        experts,
        local_experts: experts / ranks,
        hidden: row.count("hidden")?,
        inter: inter / shards,
        gated: row.flag("gated")?,
    };
    // Kernels that share nothing but their purpose.
    let is_triton = row.text("source").is_some_and(|source| source.contains("sglang"));
    let family = if is_triton { ", Triton" } else { "" };
    let work = GroupedWork::Layer(layer);
    let shape = GroupedShape { load, work, operand_bytes: operands.bytes() };
    Ok((shape, format!("{family}{ending}")))
}

/// [`ExpertLoad::power_law`], drawn once for all rows that ask for the same.
fn skewed(question: [f64; 5]) -> ExpertLoad {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<[u64; 5], ExpertLoad>> =
            const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(question.map(f64::to_bits)).or_insert_with(|| {
            let [exponent, tokens, topk, experts, ranks] = question;
            ExpertLoad::power_law(exponent, tokens, topk, experts, ranks)
        })
    })
}
