//! Threads of a process in a trace: their numbers, which are also their order, and their names.

use crate::timeline::Lane;
use crate::work::Axis;

/// Number of a lane's thread, in the order in which viewers show them.
pub(super) fn thread(lane: Lane) -> u32 {
    match lane {
        Lane::Host => 1,
        Lane::Compute => 2,
        Lane::Communication(axis, number) => {
            let order = Axis::ALL.iter().position(|known| *known == axis).unwrap_or(0) as u32;
            // 256 numbers an axis, behind host and compute.
            256 * (order + 1) + u32::from(number)
        }
        // Behind all of a simulation: threads, then streams.
        Lane::Thread(number) => 0x1_0000_u32.saturating_add(number),
        Lane::Stream(number) => 0x2_0000_u32.saturating_add(number),
    }
}

/// What a lane shows, for people. The numbers are those of the simulator's streams; a number that
/// it does not use is shown as it is.
pub(super) fn title(lane: Lane) -> String {
    let (axis, number) = match lane {
        Lane::Host => return "host".to_owned(),
        Lane::Compute => return "compute".to_owned(),
        Lane::Communication(axis, number) => (axis, number),
        Lane::Thread(number) => return format!("thread {number}"),
        Lane::Stream(number) => return format!("stream {number}"),
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
