//! What collectives of traces are called and how large they are.

use super::CollectiveArguments;
use crate::work::CollectiveKind;

/// The operation behind PyTorch's name of it (`torch/csrc/distributed/c10d`).
pub(super) fn operation(name: &str) -> Option<CollectiveKind> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let named = |part: &str| plain.contains(part);
    // Reduce-scatter contains no other name; all-to-all is sent as `all_to_allv` and `alltoall`.
    if named("reducescatter") {
        Some(CollectiveKind::ReduceScatter)
    } else if named("allreduce") {
        Some(CollectiveKind::AllReduce)
    } else if named("allgather") {
        Some(CollectiveKind::AllGather)
    } else if named("alltoall") {
        Some(CollectiveKind::AllToAll)
    } else if named("broadcast") {
        Some(CollectiveKind::Broadcast)
    } else if ["send", "recv"].into_iter().any(|it| plain.starts_with(it)) {
        Some(CollectiveKind::SendReceive)
    } else {
        None
    }
}

/// Bytes of an element of a format, as PyTorch names it (`c10::ScalarType`).
fn element_bytes(dtype: &str) -> Option<f64> {
    let dtype = dtype.to_ascii_lowercase();
    Some(match dtype.as_str() {
        "double" | "long" | "complexfloat" | "float64" | "int64" => 8.0,
        "float" | "int" | "float32" | "int32" => 4.0,
        "half" | "bfloat16" | "short" | "float16" | "c10::half" | "c10::bfloat16" => 2.0,
        "byte" | "char" | "bool" | "int8" | "uint8" => 1.0,
        "complexdouble" => 16.0,
        _ if dtype.starts_with("float8") => 1.0,
        _ => return None,
    })
}

/// Size as nccl-tests counts it: the gathered output for all-gather, else what goes in.
pub(super) fn collective_bytes(
    arguments: &CollectiveArguments<'_>,
    kind: Option<CollectiveKind>,
) -> Option<f64> {
    let elements = match kind {
        Some(CollectiveKind::AllGather) => arguments.elements_out.or(arguments.elements_in),
        _ => arguments.elements_in.or(arguments.elements_out),
    }?;
    Some(elements as f64 * element_bytes(arguments.dtype?)?)
}
