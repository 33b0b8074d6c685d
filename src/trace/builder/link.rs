//! What collectives and formats of elements are called in traces.

use crate::work::CollectiveKind;

/// The operation behind PyTorch's or NCCL's name of it (`torch/csrc/distributed/c10d`, `nccl.h`).
pub(crate) fn operation(name: &str) -> Option<CollectiveKind> {
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
    } else if named("broadcast") || plain == "bcast" {
        Some(CollectiveKind::Broadcast)
    } else if ["send", "recv"].into_iter().any(|it| plain.starts_with(it)) {
        Some(CollectiveKind::SendReceive)
    } else {
        None
    }
}

/// A format of elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// What tables call it.
    pub name: &'static str,
    /// Bytes of an element.
    pub bytes: f64,
}

/// The format behind a name: of PyTorch's scalar types (`c10/core/ScalarType.h`), of C++ types, as
/// the profiler writes those of tensors, and of kernels of NCCL.
pub(super) fn format(name: &str) -> Option<Format> {
    let plain = name.trim().to_ascii_lowercase();
    let plain = plain.strip_prefix("c10::").unwrap_or(&plain);
    let (name, bytes) = match plain {
        "float" | "float32" | "f32" => ("fp32", 4.0),
        "double" | "float64" | "f64" => ("fp64", 8.0),
        "half" | "float16" | "f16" | "__half" => ("fp16", 2.0),
        "bfloat16" | "bf16" | "__nv_bfloat16" | "hip_bfloat16" | "rccl_bfloat16" => ("bf16", 2.0),
        "char" | "signed char" | "int8" | "int8_t" | "i8" => ("int8", 1.0),
        "byte" | "unsigned char" | "uint8" | "uint8_t" | "u8" => ("uint8", 1.0),
        "bool" => ("bool", 1.0),
        "short" | "short int" | "int16" => ("int16", 2.0),
        "unsigned short" | "uint16" => ("uint16", 2.0),
        "int" | "int32" | "int32_t" | "i32" => ("int32", 4.0),
        "unsigned int" | "uint32" | "uint32_t" | "u32" => ("uint32", 4.0),
        "long" | "long int" | "long long" | "int64" | "int64_t" | "i64" => ("int64", 8.0),
        "unsigned long" | "uint64" | "uint64_t" | "u64" => ("uint64", 8.0),
        "complexfloat" | "complex<float>" => ("complex64", 8.0),
        "complexdouble" | "complex<double>" => ("complex128", 16.0),
        _ if ["float8", "f8e", "fp8"].into_iter().any(|it| plain.starts_with(it)) => ("fp8", 1.0),
        _ => return None,
    };
    Some(Format { name, bytes })
}

/// What NCCL calls reductions in names of kernels.
const REDUCTIONS: [&str; 7] = ["Sum", "Prod", "Max", "Min", "MinMax", "PreMulSum", "SumPostDiv"];

/// The format in the name of a kernel that reduces, `…_AllReduce_RING_LL_Sum_float` of NCCL up to
/// 2.18 and `…_AllReduce_Sum_f32_RING_LL` since (`src/device/generate.py`). Kernels that only move
/// data are the same for all formats and named for bytes.
pub(super) fn format_in_name(name: &str, kind: Option<CollectiveKind>) -> Option<Format> {
    if !matches!(kind, Some(CollectiveKind::AllReduce | CollectiveKind::ReduceScatter)) {
        return None;
    }
    let name = name.split(['(', '<']).next()?;
    let mut rest = name;
    while let Some((word, after)) = rest.split_once('_') {
        if REDUCTIONS.contains(&word) {
            return format(after).or_else(|| format(after.split('_').next()?));
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_reduce_name_their_format_and_those_that_move_do_not() {
        let reduce = Some(CollectiveKind::AllReduce);
        for (name, expected) in [
            ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)", Some("fp32")),
            ("ncclKernel_AllReduce_TREE_LL_Sum___nv_bfloat16(ncclDevComm*)", Some("bf16")),
            ("ncclKernel_AllReduce_RING_LL_Sum_int8_t(ncclDevComm*)", Some("int8")),
            (
                "ncclDevKernel_AllReduce_Sum_f16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
                Some("fp16"),
            ),
            ("ncclDevKernel_AllReduce_Sum_bf16_TREE_LL", Some("bf16")),
            ("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", None),
        ] {
            assert_eq!(format_in_name(name, reduce).map(|it| it.name), expected, "{name}");
        }
        let name = "ncclKernel_Broadcast_RING_LL_Sum_int8_t(ncclDevComm*)";
        assert_eq!(format_in_name(name, Some(CollectiveKind::Broadcast)), None);
    }

    #[test]
    fn a_format_is_one_however_it_is_written() {
        for names in [
            ["Float", "float", "f32"],
            ["BFloat16", "c10::BFloat16", "bf16"],
            ["Long", "long int", "int64"],
            ["Float8_e4m3fn", "c10::Float8_e5m2", "f8e4m3"],
        ] {
            let found = names.map(|name| format(name).map(|it| it.name));
            assert!(found[0].is_some() && found.iter().all(|it| *it == found[0]), "{names:?}");
        }
        assert_eq!(format("TensorList"), None);
    }

    #[test]
    fn operations_have_many_names() {
        for (name, kind) in [
            ("all_reduce", CollectiveKind::AllReduce),
            ("_all_gather_base", CollectiveKind::AllGather),
            ("allgather_into_tensor_coalesced_", CollectiveKind::AllGather),
            ("_reduce_scatter_base_", CollectiveKind::ReduceScatter),
            ("all_to_allv", CollectiveKind::AllToAll),
            ("send 0->1", CollectiveKind::SendReceive),
            ("recv_any_source_", CollectiveKind::SendReceive),
            ("ALLREDUCE_coalesced", CollectiveKind::AllReduce),
        ] {
            assert_eq!(operation(name), Some(kind), "{name}");
        }
        for name in ["coalesced", "barrier", "wait", "reduce", "gather_"] {
            assert_eq!(operation(name), None, "{name}");
        }
    }
}
