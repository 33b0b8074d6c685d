//! What a call of the CUDA or HIP runtime or driver asks of the device, by its name.

use crate::timeline::Call;

/// The meaning of a call, by its name in either API; `nsys` appends a version (`_v7000`).
///
/// Names: CUDA Runtime API and CUDA Driver API references (NVIDIA), HIP API reference (AMD).
pub fn call(name: &str) -> Call {
    let name = name.split("_v").next().unwrap_or(name);
    let name = name.strip_suffix("_ptsz").unwrap_or(name);
    let bare = ["cuda", "hip", "cu"].into_iter().find_map(|api| name.strip_prefix(api));
    let Some(bare) = bare else { return Call::Other };
    match bare {
        "StreamSynchronize" => Call::SynchronizeStream,
        "EventSynchronize" => Call::SynchronizeEvent,
        "DeviceSynchronize" | "CtxSynchronize" | "ThreadSynchronize" => Call::SynchronizeDevice,
        "EventRecord" | "EventRecordWithFlags" => Call::RecordEvent,
        "StreamWaitEvent" => Call::WaitEvent,
        _ if bare.starts_with("Memcpy") => Call::Copy,
        _ if bare.starts_with("Memset") => Call::Launch,
        _ if bare.contains("Launch") && !bare.contains("Attribute") => Call::Launch,
        _ if is_allocation(bare) => Call::Allocate,
        _ if bare.starts_with("Free") || bare.starts_with("MemFree") => Call::Free,
        _ => Call::Other,
    }
}

/// Whether the call takes memory; page-locked host memory included, which stalls alike.
fn is_allocation(bare: &str) -> bool {
    ["Malloc", "MemAlloc", "HostAlloc", "MemCreate", "MemMap", "HostRegister"]
        .iter()
        .any(|start| bare.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_both_makers_mean_the_same() {
        for name in ["cudaLaunchKernel", "hipLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch"] {
            assert_eq!(call(name), Call::Launch, "{name}");
        }
        for name in ["hipExtModuleLaunchKernel", "cudaLaunchKernelExC_v11060", "cudaMemsetAsync"] {
            assert_eq!(call(name), Call::Launch, "{name}");
        }
        assert_eq!(call("cudaDeviceSynchronize_v3020"), Call::SynchronizeDevice);
        assert_eq!(call("hipMemcpyWithStream"), Call::Copy);
        assert_eq!(call("cudaMallocAsync"), Call::Allocate);
        assert_eq!(call("cudaFree"), Call::Free);
        assert_eq!(call("cudaStreamIsCapturing"), Call::Other);
        assert_eq!(call("launch"), Call::Other);
    }
}
