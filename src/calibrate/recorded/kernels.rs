//! Rows of products, attention and passes over memory, from the shapes of operators.

use std::collections::BTreeMap;

use super::operators::Operators;
use super::shapes;
use super::{ExtractOptions, Ledger, Sheet, gpu, is_kernel, quantile, time_us, written_us};
use crate::timeline::SpanId;
use crate::trace::{Operator, Recording};
use crate::work::Class;

/// Columns by table, the GPU and the time last.
const GEMM: &[&str] = &["dtype", "m", "n", "k", "source", "gpu", "time_us"];
const ATTENTION: &[&str] = &[
    "dtype", "batch", "seq", "key_seq", "heads", "kv_heads", "head_dim", "causal", "source", "gpu",
    "time_us",
];
const PASS: &[&str] = &["op", "dtype", "rows", "cols", "bytes", "source", "gpu", "time_us"];

/// Beside communication for more of its time than this, a kernel is not measured alone.
const ALONE_FRACTION: f64 = 0.05;

/// Passes over memory by operator: how tables call them, and how often the result is written.
const PASSES: &[(&str, &str, f64)] = &[
    ("aten::add", "add", 1.0),
    ("aten::add_", "add", 1.0),
    ("aten::mul", "mul", 1.0),
    ("aten::mul_", "mul", 1.0),
    ("aten::gelu", "gelu", 1.0),
    ("aten::silu", "silu", 1.0),
    ("aten::relu", "relu", 1.0),
    ("aten::_softmax", "softmax", 1.0),
    ("aten::native_layer_norm", "layernorm", 1.0),
    ("aten::_fused_rms_norm", "rmsnorm", 1.0),
];

/// A row without its GPU and time: the table (by its place among the sheets) and the values.
type Shape = (usize, Vec<String>);

/// What an operator is to a table.
enum Found {
    Shape(Shape),
    /// A kind that tables have, of which this one cannot be a row.
    Refused(&'static str),
}

/// Rows of all three tables.
pub(super) fn sheets(
    recording: &Recording,
    operators: &Operators<'_>,
    beside: &[f64],
    options: &ExtractOptions,
    ledger: &mut Ledger,
) -> Vec<Sheet> {
    let mut calls: BTreeMap<u32, (Shape, Vec<usize>)> = BTreeMap::new();
    for (index, span) in recording.timeline.spans.iter().enumerate() {
        if !is_kernel(span) || matches!(span.class, Class::Communication(_)) {
            continue;
        }
        match find(recording, operators, SpanId(index as u32), options) {
            Ok((frame, shape)) => {
                calls.entry(frame).or_insert_with(|| (shape, Vec::new())).1.push(index);
            }
            Err(why) => ledger.leave(why, 1),
        }
    }
    let mut times: BTreeMap<(Shape, String), Vec<f64>> = BTreeMap::new();
    for (shape, kernels) in calls.into_values() {
        let spans = || kernels.iter().map(|&index| &recording.timeline.spans[index]);
        let Some(gpu) = gpu(recording, spans().next().map_or(0, |it| it.process), options) else {
            ledger.leave("the trace does not name its GPU: say --gpu", kernels.len());
            continue;
        };
        if shape.0 == 0 && spans().all(|span| span.class != Class::Gemm) {
            ledger.leave("operator of a product without a kernel of one", kernels.len());
        } else if kernels.iter().any(|&index| beside[index] > ALONE_FRACTION) {
            ledger.leave("beside communication, so not measured alone", kernels.len());
        } else {
            ledger.used += kernels.len() as u64;
            times.entry((shape, gpu)).or_default().push(spans().map(time_us).sum());
        }
    }
    let mut sheets = [("gemm.csv", GEMM), ("attention.csv", ATTENTION), ("passes.csv", PASS)]
        .map(|(file, columns)| Sheet { file, columns, rows: Vec::new() });
    for (((sheet, mut values), gpu), mut times) in times {
        let Some(median) = quantile(&mut times, 0.5).filter(|&median| median > 0.0) else {
            continue;
        };
        values.extend(["trace".to_owned(), gpu, written_us(median)]);
        sheets[sheet].rows.push(values);
    }
    sheets.into()
}

/// The innermost operator around a kernel that a table knows, or why there is none.
fn find(
    recording: &Recording,
    operators: &Operators<'_>,
    kernel: SpanId,
    options: &ExtractOptions,
) -> Result<(u32, Shape), &'static str> {
    if recording.launched_by.get(kernel.0 as usize).copied().flatten().is_none() {
        return Err("no launch in the trace");
    }
    let mut why = "no operator around the launch";
    for (frame, name) in operators.around(kernel) {
        if why == "no operator around the launch" {
            why = "operator that no table knows";
        }
        let Some(is_known) = known(name) else { continue };
        let Some(arguments) = operators.arguments(frame) else {
            why = "operator without shapes: record with record_shapes=True";
            continue;
        };
        match is_known(name, arguments, recording.name(kernel), options) {
            Found::Shape(shape) => return Ok((frame, shape)),
            Found::Refused(refused) => return Err(refused),
        }
    }
    Err(why)
}

type Reader = fn(&str, &Operator, &str, &ExtractOptions) -> Found;

/// How the arguments of an operator are read, if any table knows it.
fn known(name: &str) -> Option<Reader> {
    const PRODUCTS: [&str; 6] = [
        "aten::mm",
        "aten::addmm",
        "aten::_scaled_mm",
        "aten::bmm",
        "aten::baddbmm",
        "aten::linear",
    ];
    if PRODUCTS.contains(&name) {
        Some(product)
    } else if name.contains("attention") || name.contains("flash_attn") {
        Some(attention)
    } else if PASSES.iter().any(|pass| pass.0 == name) {
        Some(pass)
    } else {
        None
    }
}

/// The format of an argument, else what the kernel's name says.
pub(super) fn dtype(arguments: &Operator, index: usize, kernel: &str) -> Option<&'static str> {
    let told = arguments.dtypes.get(index).map(|dtype| dtype.to_lowercase());
    let text = told.filter(|told| !told.is_empty()).unwrap_or_else(|| kernel.to_lowercase());
    [
        ("float8", "fp8"),
        ("e4m3", "fp8"),
        ("bfloat16", "bf16"),
        ("bf16", "bf16"),
        ("half", "fp16"),
        ("float16", "fp16"),
        ("fp16", "fp16"),
        ("hgemm", "fp16"),
        ("float", "fp32"),
        ("sgemm", "fp32"),
    ]
    .into_iter()
    .find_map(|(part, dtype)| text.contains(part).then_some(dtype))
}

fn product(name: &str, arguments: &Operator, kernel: &str, _: &ExtractOptions) -> Found {
    // `addmm` and `baddbmm` take what they add first.
    let first = usize::from(matches!(name, "aten::addmm" | "aten::baddbmm"));
    let (m, n, k) = match shapes::product(name, arguments) {
        Some([m, n, k, 1]) => (m, n, k),
        Some(_) => return Found::Refused("batched product: tables have none"),
        None => return Found::Refused("product whose shapes do not fit"),
    };
    let is_tf32 = kernel.to_lowercase().contains("tf32") || kernel.contains("s1688gemm_128");
    let dtype = match dtype(arguments, first, kernel) {
        Some("fp32") if is_tf32 => "tf32",
        Some("fp32") => return Found::Refused("product in fp32: tables have none"),
        Some(dtype) => dtype,
        None => return Found::Refused("product of a format that tables have none of"),
    };
    if [m, n, k].contains(&0) {
        return Found::Refused("empty product");
    }
    let sizes = [m, n, k].map(|size| size.to_string());
    Found::Shape((0, [dtype.to_owned()].into_iter().chain(sizes).collect()))
}

fn attention(name: &str, arguments: &Operator, kernel: &str, options: &ExtractOptions) -> Found {
    if name.contains("backward") {
        return Found::Refused("backward of attention: its table wants its forward beside it");
    }
    let Some([batch, heads, seq, kv_heads, key_seq, width]) = shapes::attention(name, arguments)
    else {
        return Found::Refused("attention without shapes of four axes");
    };
    let Some(causal) = options.causal else {
        return Found::Refused("attention: shapes do not say if it is causal: say --causal");
    };
    let Some(dtype @ ("bf16" | "fp16")) = dtype(arguments, 0, kernel) else {
        return Found::Refused("attention of a format that tables have none of");
    };
    let sizes = [batch, seq, key_seq, heads, kv_heads, width];
    if sizes.contains(&0) {
        return Found::Refused("empty attention");
    }
    let mut values = vec![dtype.to_owned()];
    values.extend(sizes.map(|size| size.to_string()));
    values.push(u8::from(causal).to_string());
    Found::Shape((1, values))
}

fn pass(name: &str, arguments: &Operator, kernel: &str, _: &ExtractOptions) -> Found {
    let Some(&(_, operation, written)) = PASSES.iter().find(|pass| pass.0 == name) else {
        return Found::Refused("operator that no table knows");
    };
    let count = |shape: &[u64]| shape.iter().map(|&size| size as f64).product::<f64>();
    // What is smaller is broadcast over the largest, which has the shape of the result.
    let tensors = || arguments.shapes.iter().filter(|shape| !shape.is_empty());
    let Some(largest) = tensors().max_by(|a, b| count(a).total_cmp(&count(b))) else {
        return Found::Refused("pass without a shape");
    };
    let Some(dtype @ ("bf16" | "fp16" | "fp32")) = dtype(arguments, 0, kernel) else {
        return Found::Refused("pass of a format that tables have none of");
    };
    let width = if dtype == "fp32" { 4.0 } else { 2.0 };
    let read: f64 = tensors().map(|shape| count(shape)).sum();
    let columns = largest.last().copied().unwrap_or(1);
    let elements = count(largest);
    if elements == 0.0 || columns == 0 {
        return Found::Refused("empty pass");
    }
    let bytes = (read + written * elements) * width;
    let rows = elements / columns as f64;
    let values = [rows, columns as f64, bytes].map(|value| format!("{value:.0}"));
    let named = [operation.to_owned(), dtype.to_owned()];
    Found::Shape((2, named.into_iter().chain(values).collect()))
}
