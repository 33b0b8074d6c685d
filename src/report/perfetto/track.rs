//! Threads of a process in a trace: their numbers, names and order.

use crate::timeline::{Lane, Span};
use crate::work::{Axis, Class};

/// Number of a lane's thread; for lanes of the device the number of its stream, as profilers give
/// it: compute is stream 7, the first that PyTorch makes.
pub(super) fn thread_id(lane: Lane) -> u32 {
    match lane {
        Lane::Host => 1,
        Lane::Compute => 7,
        Lane::Communication(axis, number) => 100 + 300 * place(axis) + u32::from(number),
    }
}

/// Place among the threads: the host first, then compute, then communication.
pub(super) fn sort_index(lane: Lane) -> u32 {
    thread_id(lane)
}

fn place(axis: Axis) -> u32 {
    Axis::ALL.iter().position(|known| *known == axis).unwrap_or(Axis::ALL.len()) as u32
}

/// What a lane shows, for people. The numbers are those of the simulator's streams; a number that
/// it does not use is shown as it is.
pub(super) fn thread_name(lane: Lane) -> String {
    let (axis, number) = match lane {
        Lane::Host => return "host".to_owned(),
        Lane::Compute => return "compute".to_owned(),
        Lane::Communication(axis, number) => (axis, number),
    };
    let name = axis.name();
    match (axis, number) {
        (Axis::Dp, 0) => format!("{name}: gradient reduce"),
        (Axis::Dp, 1) => format!("{name}: parameter gather"),
        (Axis::Pp, 0) => format!("{name}: send forward"),
        (Axis::Pp, 1) => format!("{name}: send backward"),
        (Axis::Pp, 2) => format!("{name}: receive forward"),
        (Axis::Pp, 3) => format!("{name}: receive backward"),
        (Axis::Pp, 4) => "model-parallel".to_owned(),
        (Axis::Tp | Axis::Cp | Axis::Ep, 0) => name.to_owned(),
        _ => format!("{name} {number}"),
    }
}

/// Category, in the words of PyTorch's profiler.
pub(super) fn category(span: &Span, launches: bool) -> &'static str {
    match (span.lane, span.class) {
        (Lane::Host, _) if launches => "cuda_runtime",
        (Lane::Host, _) => "cpu_op",
        (Lane::Compute, Class::Host) => "gpu_memcpy",
        (Lane::Compute | Lane::Communication(..), _) => "kernel",
    }
}
