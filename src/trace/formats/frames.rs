//! Frames of process groups of PyTorch, whichever recorder wrote them down.

use crate::trace::CollectiveArguments;

/// The operator that says what collective it sends (`ParamCommsUtils.hpp` of PyTorch's `c10d`).
pub(super) const PARAM_COMMS: &str = "record_param_comms";
/// What operators of the dispatcher begin with.
const OPERATORS: &str = "c10d::";
/// Backends, as annotations begin with them.
const BACKENDS: [&str; 5] = ["nccl", "rccl", "xccl", "ucc", "hccl"];

/// Whether a frame of this name may say what collective is sent in it.
pub(super) fn announces(name: &str) -> bool {
    name == PARAM_COMMS || name.starts_with(OPERATORS) || by_backend(name).is_some()
}

/// The operation of an annotation of a backend, `nccl:all_reduce`.
pub(super) fn by_backend(name: &str) -> Option<&str> {
    let operation = BACKENDS.iter().find_map(|it| name.strip_prefix(it)?.strip_prefix(':'))?;
    (!operation.starts_with(':')).then_some(operation)
}

/// What the name of a frame says.
pub(super) fn by_name(name: &str) -> CollectiveArguments<'_> {
    let operation = name.strip_prefix(OPERATORS).or_else(|| by_backend(name));
    CollectiveArguments { name: operation, ..CollectiveArguments::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_process_groups_say_the_operation_and_others_nothing() {
        for (name, operation) in [
            ("nccl:all_reduce", Some("all_reduce")),
            ("rccl:_all_gather_base", Some("_all_gather_base")),
            ("c10d::alltoall_base_", Some("alltoall_base_")),
            (PARAM_COMMS, None),
        ] {
            assert!(announces(name), "{name}");
            assert_eq!(by_name(name).name, operation, "{name}");
        }
        for name in ["aten::add", "nccl::broadcast", "ncclAllReduce", "c10d_functional", "a:b"] {
            assert!(!announces(name), "{name}");
        }
    }
}
