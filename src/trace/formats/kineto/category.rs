//! Categories of events, under all names that profilers gave them.

use crate::timeline::FrameKind;
use crate::trace::DeviceKind;

/// What an event is, by its category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    /// Work on a device.
    Device(DeviceKind),
    /// A call of the runtime or driver.
    Call,
    /// What the recorder says of a synchronisation.
    Synchronization,
    /// On a thread of the host.
    Frame(FrameKind),
    /// An event without a length, of interest for its name only.
    Instant,
    /// The shadow of a range of the host on a stream.
    Shadow,
    /// Says nothing that is kept: arrows, spans of the profiler.
    Silent,
    /// Of no GPU, as far as is known.
    Unknown,
}

/// The category behind a name.
///
/// Names: `libkineto/include/ActivityType.h` and `libkineto/src/ActivityType.cpp` of
/// pytorch/kineto, and the upper-case ones of 2021 in its history.
pub(super) fn category(name: &str) -> Category {
    match known(name) {
        Category::Unknown if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            known(&name.to_ascii_lowercase())
        }
        category => category,
    }
}

fn known(name: &str) -> Category {
    match name {
        "kernel" => Category::Device(DeviceKind::Kernel),
        "gpu_memcpy" | "memcpy" => Category::Device(DeviceKind::Copy),
        "gpu_memset" | "memset" => Category::Device(DeviceKind::Fill),
        "cuda_runtime" | "cuda_driver" | "runtime" | "driver" => Category::Call,
        "hip_runtime" | "hip_driver" | "xpu_runtime" | "xpu_driver" => Category::Call,
        "privateuse1_runtime" | "privateuse1_driver" => Category::Call,
        "cuda_sync" => Category::Synchronization,
        "cpu_op" | "operator" => Category::Frame(FrameKind::Operator),
        "user_annotation" => Category::Frame(FrameKind::Annotation),
        "python_function" | "python" | "python function" => Category::Frame(FrameKind::Python),
        "cpu_instant_event" => Category::Instant,
        "gpu_user_annotation" => Category::Shadow,
        ""
        | "ac2g"
        | "async_gpu"
        | "async_cpu_to_gpu"
        | "fwdbwd"
        | "fwd_bwd"
        | "forward_backward"
        | "trace"
        | "overhead"
        | "external_correlation"
        | "cuda_event"
        | "cuda_profiler_range"
        | "gpu_pm_counter"
        | "__metadata" => Category::Silent,
        _ => Category::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_names_in_either_case_are_one_category() {
        for name in ["kernel", "Kernel", "KERNEL"] {
            assert_eq!(category(name), Category::Device(DeviceKind::Kernel), "{name}");
        }
        assert_eq!(category("Memset"), category("gpu_memset"));
        assert_eq!(category("Runtime"), category("cuda_driver"));
        assert_eq!(category("Operator"), category("cpu_op"));
        assert_eq!(category("gpu_user_annotation"), Category::Shadow);
        assert_eq!(category("mtia_ccp_events"), Category::Unknown);
    }
}
