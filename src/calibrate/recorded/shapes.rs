//! What operators compute, from the shapes of their arguments.

use super::operators::Operators;
use crate::timeline::SpanId;
use crate::trace::{Operator, Recording};
use crate::units::Bytes;
use crate::work::{AttentionFamily, Class, DType, GemmLayout, Kernel, MemoryKernel, Pass};

/// Strides of convolutions, which shapes of their inputs do not say.
const STRIDES: [u64; 3] = [1, 2, 4];

/// Passes over memory that read their arguments once and write a result like the largest of them.
const PASSES: &[(MemoryKernel, &[&str])] = &[
    (
        MemoryKernel::Pointwise,
        &[
            "add",
            "sub",
            "mul",
            "div",
            "neg",
            "pow",
            "rsqrt",
            "sqrt",
            "exp",
            "tanh",
            "sigmoid",
            "cos",
            "sin",
            "where",
            "masked_fill",
            "addcmul",
            "addcdiv",
            "lerp",
            "sigmoid_backward",
            "tanh_backward",
            "native_dropout",
        ],
    ),
    (
        MemoryKernel::Activation,
        &[
            "silu",
            "gelu",
            "relu",
            "clamp_min",
            "clamp",
            "threshold_backward",
            "silu_backward",
            "gelu_backward",
        ],
    ),
    (
        MemoryKernel::Softmax,
        &["_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data"],
    ),
    (
        MemoryKernel::Norm,
        &[
            "native_layer_norm",
            "native_layer_norm_backward",
            "_fused_rms_norm",
            "_fused_rms_norm_backward",
            "native_batch_norm",
            "native_batch_norm_backward",
            "cudnn_batch_norm",
            "cudnn_batch_norm_backward",
            "miopen_batch_norm",
            "miopen_batch_norm_backward",
        ],
    ),
];
/// Passes that read their arguments and write little.
const REDUCTIONS: [&str; 4] = ["mean", "sum", "max", "min"];
/// Passes that write their first argument without reading it.
const FILLS: [&str; 2] = ["fill_", "zero_"];

/// Rows, columns, inner length and count of the products of an operator; `None` where it is none or
/// its shapes do not fit.
pub(super) fn product(name: &str, arguments: &Operator) -> Option<[u64; 4]> {
    // `addmm` and `baddbmm` take what they add first.
    let first = usize::from(matches!(name, "aten::addmm" | "aten::baddbmm"));
    match (name, shape(arguments, first), shape(arguments, first + 1)) {
        ("aten::linear", [rows @ .., k], [n, same]) if k == same && !rows.is_empty() => {
            Some([rows.iter().fold(1_u64, |all, &row| all.saturating_mul(row)), *n, *k, 1])
        }
        ("aten::mm" | "aten::addmm" | "aten::_scaled_mm", [m, k], [same, n]) if k == same => {
            Some([*m, *n, *k, 1])
        }
        ("aten::bmm" | "aten::baddbmm", [batch, m, k], [all, same, n])
            if k == same && batch == all =>
        {
            Some([*m, *n, *k, *batch])
        }
        _ => None,
    }
}

/// Batch, heads, queries, heads of keys, keys and width of an attention operator.
pub(super) fn attention(name: &str, arguments: &Operator) -> Option<[u64; 6]> {
    // Backward takes the gradient of its result first.
    let first = usize::from(name.contains("backward"));
    let [batch, a, b, width] = *shape(arguments, first) else { return None };
    let [_, c, d, _] = *shape(arguments, first + 1) else { return None };
    // Flash attention takes batch, sequence, heads; PyTorch's front takes batch, heads, sequence.
    let heads_first = name.contains("scaled_dot_product");
    let (heads, queries, kv_heads, keys) = if heads_first { (a, b, c, d) } else { (b, a, d, c) };
    Some([batch, heads, queries, kv_heads, keys, width])
}

pub(super) fn shape(arguments: &Operator, index: usize) -> &[u64] {
    arguments.shapes.get(index).map_or(&[], Vec::as_slice)
}

/// The kernel that a span of a device was, or the few that it may have been where shapes leave
/// something open (whether attention is causal, the stride of a convolution); none where the
/// recording has no shapes of its operator, or they are of no operator that is known.
#[derive(Debug)]
pub struct ShapedKernels<'a> {
    recording: &'a Recording,
    operators: Operators<'a>,
}

impl<'a> ShapedKernels<'a> {
    /// Of a recording.
    pub fn of(recording: &'a Recording) -> Self {
        Self { recording, operators: Operators::of(recording) }
    }

    /// What a kernel may have computed.
    pub fn kernels(&self, span: SpanId) -> Vec<Kernel> {
        let class = self.recording.timeline.spans[span.0 as usize].class;
        let kernel = self.recording.name(span);
        let known = |(frame, name): (u32, &str)| {
            let arguments = self.operators.arguments(frame)?;
            let found = match class {
                Class::Gemm => products(name, arguments, kernel),
                Class::Attention if name.contains("attention") => {
                    attentions(name, arguments, kernel)
                }
                Class::Communication(_) | Class::Host | Class::Copy => Vec::new(),
                _ => pass(name, arguments).into_iter().collect(),
            };
            (!found.is_empty()).then_some(found)
        };
        self.operators.around(span).find_map(known).unwrap_or_default()
    }
}

fn products(name: &str, arguments: &Operator, kernel: &str) -> Vec<Kernel> {
    let gemm = |[m, n, k, batch]: [u64; 4], dtype| {
        let layout = GemmLayout::Tn;
        Kernel::Gemm { m, n, k, batch, dtype, output: output(dtype), layout, accumulate: false }
    };
    let sizes = match product(name, arguments) {
        Some(sizes) => vec![sizes],
        None if name.contains("convolution") => convolutions(name, arguments, kernel),
        None => Vec::new(),
    };
    let first = usize::from(matches!(name, "aten::addmm" | "aten::baddbmm"));
    let Some(dtype) = operand(arguments, first, kernel) else { return Vec::new() };
    sizes.into_iter().filter(|sizes| !sizes.contains(&0)).map(|it| gemm(it, dtype)).collect()
}

/// Products that a convolution is, one for each stride that it may have.
fn convolutions(name: &str, arguments: &Operator, kernel: &str) -> Vec<[u64; 4]> {
    let is_backward = name.contains("backward");
    let first = usize::from(is_backward);
    let ([images, inputs, height, width], [outputs, of_group, rows, columns]) =
        (shape(arguments, first), shape(arguments, first + 1))
    else {
        return Vec::new();
    };
    let pixels = match (is_backward, shape(arguments, 0)) {
        (true, [_, _, height, width]) => vec![height.saturating_mul(*width)],
        (true, _) => return Vec::new(),
        (false, _) => STRIDES
            .iter()
            .map(|stride| height.div_ceil(*stride).saturating_mul(width.div_ceil(*stride)))
            .collect(),
    };
    let groups = (inputs / (*of_group).max(1)).max(1);
    let of_weights = ["wgrad", "wrw", "bwd_weight", "backward_filter"];
    let is_of_weights = of_weights.iter().any(|part| kernel.to_lowercase().contains(part));
    let window = of_group.saturating_mul(*rows).saturating_mul(*columns);
    let sizes = |pixels: u64| {
        let all = images.saturating_mul(pixels);
        let columns = outputs / groups;
        if is_of_weights { [columns, window, all, groups] } else { [all, columns, window, groups] }
    };
    pixels.into_iter().map(sizes).collect()
}

/// Format of the result of a product.
const fn output(dtype: DType) -> DType {
    if dtype.is_quantised() { DType::Bf16 } else { dtype }
}

/// Format of the operands of a product.
fn operand(arguments: &Operator, index: usize, kernel: &str) -> Option<DType> {
    let is_tf32 = kernel.to_lowercase().contains("tf32") || kernel.contains("s1688gemm");
    match super::kernels::dtype(arguments, index, kernel)? {
        "fp8" => Some(DType::Fp8),
        "bf16" => Some(DType::Bf16),
        "fp16" => Some(DType::Fp16),
        _ if is_tf32 => Some(DType::Tf32),
        _ => Some(DType::Fp32),
    }
}

/// Attention, causal or not.
fn attentions(name: &str, arguments: &Operator, kernel: &str) -> Vec<Kernel> {
    let Some(sizes) = attention(name, arguments).filter(|sizes| !sizes.contains(&0)) else {
        return Vec::new();
    };
    let [batch, heads, query_length, kv_heads, key_length, head_dim] = sizes;
    let Some(dtype) = operand(arguments, 0, kernel) else { return Vec::new() };
    let is_backward = name.contains("backward");
    let pass = if is_backward { Pass::Backward } else { Pass::Forward };
    let is_cudnn = name.contains("cudnn");
    let family = if is_cudnn { AttentionFamily::Cudnn } else { AttentionFamily::Flash2 };
    let of = |causal| Kernel::Attention {
        family,
        pass,
        batch,
        query_length,
        key_length,
        heads,
        kv_heads,
        head_dim,
        causal,
        dtype,
    };
    [true, false].map(of).to_vec()
}

/// A pass over memory.
fn pass(name: &str, arguments: &Operator) -> Option<Kernel> {
    let name = name.strip_prefix("aten::")?;
    let tensors = || {
        let sizes = arguments.shapes.iter().zip(&arguments.dtypes);
        sizes.filter(|(shape, _)| !shape.is_empty()).filter_map(|(shape, dtype)| {
            let count: f64 = shape.iter().map(|&size| size as f64).product();
            Some((count, count * element_bytes(dtype)?, dtype))
        })
    };
    let largest = tensors().map(|it| it.1).fold(0.0, f64::max);
    let read: f64 = tensors().map(|it| it.1).sum();
    let plain = name.strip_suffix('_').filter(|_| !FILLS.contains(&name)).unwrap_or(name);
    let (kind, read, write) = if plain == "copy" {
        let mut sides = tensors();
        let (to, from) = (sides.next()?, sides.next()?);
        let kind = if to.2 == from.2 { MemoryKernel::Copy } else { MemoryKernel::Cast };
        (kind, from.1, to.1)
    } else if FILLS.contains(&name) {
        (MemoryKernel::Copy, 0.0, tensors().next()?.1)
    } else if REDUCTIONS.contains(&plain) {
        (MemoryKernel::Pointwise, read, 0.0)
    } else {
        let listed = PASSES.iter().find(|(_, names)| names.contains(&plain))?;
        (listed.0, read, largest)
    };
    let (read, write) = (Bytes::new(read), Bytes::new(write));
    (read + write > Bytes::ZERO).then_some(Kernel::Memory { kind, read, write })
}

/// Bytes of an element, of PyTorch's name for its format.
fn element_bytes(dtype: &str) -> Option<f64> {
    let dtype = dtype.to_lowercase();
    Some(match dtype.trim_start_matches("c10::").trim_start_matches("at::") {
        "double" | "long" | "long int" | "complexfloat" => 8.0,
        "float" | "int" => 4.0,
        "bfloat16" | "half" | "short" => 2.0,
        "bool" | "unsigned char" | "signed char" | "byte" | "char" => 1.0,
        float8 if float8.starts_with("float8") => 1.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(shapes: &[&[u64]], dtype: &str) -> Operator {
        let dtypes = vec![dtype.to_owned(); shapes.len()];
        Operator { frame: 0, shapes: shapes.iter().map(|it| it.to_vec()).collect(), dtypes }
    }

    #[test]
    fn products_have_the_sizes_of_their_operators() {
        let linear = operator(&[&[16, 559, 1024], &[2816, 1024], &[2816]], "c10::Half");
        assert_eq!(product("aten::linear", &linear), Some([16 * 559, 2816, 1024, 1]));
        let batched = operator(&[&[4, 8, 6], &[4, 8, 5], &[4, 5, 6]], "float");
        assert_eq!(product("aten::baddbmm", &batched), Some([8, 6, 5, 4]));
        let unfit = operator(&[&[8, 5], &[6, 8]], "float");
        assert_eq!(product("aten::mm", &unfit), None);
    }

    #[test]
    fn a_convolution_is_a_product_of_each_stride_that_it_may_have() {
        // 8 images of 64 x 56 x 56, 128 filters of 3 x 3.
        let shapes: [&[u64]; 2] = [&[8, 64, 56, 56], &[128, 64, 3, 3]];
        let forward = operator(&shapes, "c10::Half");
        let sizes = convolutions("aten::cudnn_convolution", &forward, "implicit_gemm");
        let rows = [56 * 56, 28 * 28, 14 * 14].map(|pixels| [8 * pixels, 128, 576, 1]);
        assert_eq!(sizes, rows);
        // Backward says what forward gave: stride 2. The gradient of weights sums over pixels.
        let backward = operator(&[&[8, 128, 28, 28], shapes[0], shapes[1]], "c10::Half");
        let name = "aten::convolution_backward";
        assert_eq!(convolutions(name, &backward, "dgrad"), [rows[1]]);
        assert_eq!(convolutions(name, &backward, "wgrad"), [[128, 576, 8 * 784, 1]]);
        // Depthwise: a product a channel.
        let depthwise = operator(&[&[8, 64, 56, 56], &[64, 1, 3, 3]], "c10::Half");
        assert_eq!(convolutions("aten::convolution", &depthwise, "")[0], [8 * 3136, 1, 9, 64]);
    }

    #[test]
    fn passes_read_their_arguments_and_write_what_they_make() {
        let bytes =
            |name: &str, shapes: &[&[u64]], dtype: &str| match pass(name, &operator(shapes, dtype))
            {
                Some(Kernel::Memory { read, write, .. }) => (read.value(), write.value()),
                other => panic!("{other:?}"),
            };
        // 64 x 32 of 4 bytes, and a row that is broadcast.
        let shapes: [&[u64]; 2] = [&[64, 32], &[32]];
        assert_eq!(bytes("aten::mul", &shapes, "float"), (8192.0 + 128.0, 8192.0));
        assert_eq!(bytes("aten::copy_", &[&[64, 32], &[64, 32]], "float"), (8192.0, 8192.0));
        assert_eq!(bytes("aten::sum", &shapes[..1], "c10::BFloat16"), (4096.0, 0.0));
        assert_eq!(bytes("aten::zero_", &shapes[..1], "long int"), (0.0, 16384.0));
        assert!(pass("aten::sort", &operator(&shapes, "float")).is_none());
    }
}
