//! Ranges around launches: against the obvious search, and what they say in hand-made cases.

use proptest::prelude::*;

use super::*;
use crate::trace::{
    Classes, CollectiveArguments, Communication, DeviceEvent, DeviceKind, HostCall,
};

const GENERIC: &str = "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)";

fn kernel(name: &str, device: u64, start_ns: i64, correlation: u64) -> DeviceEvent<'_> {
    DeviceEvent {
        kind: DeviceKind::Kernel,
        device,
        stream: 20,
        name,
        start_ns,
        end_ns: start_ns + 50,
        correlation: Some(correlation),
        context: 0,
        bytes: None,
        collective: None,
    }
}

fn launch(thread: u64, start_ns: i64, correlation: u64) -> HostCall<'static> {
    HostCall {
        pid: 1,
        thread,
        name: "cudaLaunchKernel",
        start_ns,
        end_ns: start_ns + 1,
        correlation: Some(correlation),
        context: 0,
    }
}

fn range(thread: u64, start_ns: i64, end_ns: i64) -> Announcement<'static> {
    let arguments = CollectiveArguments::default();
    Announcement { pid: 1, thread, start_ns, end_ns, number: None, arguments, count: 1 }
}

/// All-reduces of so many bytes, so many of them in one range.
fn reduces(start_ns: i64, end_ns: i64, bytes: u64, count: u32) -> Announcement<'static> {
    let arguments = CollectiveArguments {
        name: Some("AllReduce"),
        bytes_in: Some(bytes),
        ..CollectiveArguments::default()
    };
    Announcement { arguments, count, ..range(3, start_ns, end_ns) }
}

proptest! {
    #[test]
    fn the_ranges_around_a_launch_are_those_that_an_obvious_search_finds(
        ranges in prop::collection::vec((0_u64..3, 0_i64..60, 0_i64..30), 0..25),
        launches in prop::collection::vec((0_u64..3, 0_i64..90), 0..15),
    ) {
        let classes = Classes::shipped();
        let mut builder = Builder::new("a.json", &classes);
        for &(thread, start, length) in &ranges {
            builder.announcement(range(thread, start, start + length));
        }
        for (number, &(thread, time)) in (0..).zip(&launches) {
            builder.host_call(launch(thread, time, number));
            builder.device_event(kernel(GENERIC, 0, 1000 + number as i64, number));
        }
        let kernels = builder.communication_kernels();
        let found = builder.ranges_around(&kernels);
        for (&(thread, time), found) in launches.iter().zip(found) {
            let mut expected: Vec<usize> = (0..ranges.len()).collect();
            expected.retain(|&it| {
                let (of, start, length) = ranges[it];
                of == thread && start <= time && time < start + length
            });
            expected.sort_by_key(|&it| (ranges[it].1, std::cmp::Reverse(ranges[it].2), it));
            expected.reverse();
            // Nothing is known of threads and launches where nothing is announced.
            prop_assert_eq!(found, expected);
        }
    }
}

/// What is known of kernels of a thread, launched at these times for these devices.
fn heard(announcements: &[Announcement<'_>], kernels: &[(&str, i64, u64)]) -> Vec<Communication> {
    let classes = Classes::shipped();
    let mut builder = Builder::new("a.json", &classes);
    for announcement in announcements {
        builder.announcement(*announcement);
    }
    for (number, &(name, time, device)) in (0..).zip(kernels) {
        builder.host_call(launch(3, time, number));
        builder.device_event(kernel(name, device, 1000 + number as i64, number));
    }
    builder.finish().communications
}

fn bytes(heard: &[Communication]) -> Vec<Option<f64>> {
    heard.iter().map(|said| said.bytes.map(|bytes| bytes.value())).collect()
}

#[test]
fn equal_collectives_of_a_range_are_one_kernel_or_one_a_device_or_of_no_known_size() {
    let four = [reduces(0, 10, 100, 4)];
    assert_eq!(bytes(&heard(&four, &[(GENERIC, 5, 0)])), [Some(400.0)]);
    let two = [reduces(0, 10, 100, 2)];
    let one_each = heard(&two, &[(GENERIC, 5, 0), (GENERIC, 6, 1)]);
    assert_eq!(bytes(&one_each), [Some(100.0), Some(100.0)]);
    // Two of the four are of each device, as one kernel or two of them: nobody says.
    let some_each = heard(&four, &[(GENERIC, 5, 0), (GENERIC, 6, 1)]);
    assert_eq!(bytes(&some_each), [None, None]);
    assert!(some_each.iter().all(|said| said.kind == Some(CollectiveKind::AllReduce)));
    // The thread launches for another device elsewhere, so that the other two may be of it.
    let elsewhere = heard(&four, &[(GENERIC, 5, 0), (GENERIC, 20, 1)]);
    assert_eq!(bytes(&elsewhere), [None, None]);
}

#[test]
fn a_range_that_launched_several_kernels_says_the_size_of_none() {
    let heard = heard(&[reduces(0, 10, 100, 1)], &[(GENERIC, 5, 0), (GENERIC, 6, 0)]);
    assert_eq!(bytes(&heard), [None, None]);
}

#[test]
fn a_kernel_that_is_called_otherwise_is_not_what_the_range_says() {
    let gather = "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)";
    let heard = heard(&[reduces(0, 10, 100, 1)], &[(gather, 5, 0)]);
    assert_eq!(heard[0].kind, Some(CollectiveKind::AllGather));
    assert_eq!(heard[0].bytes, None);
}

#[test]
fn parts_of_one_operation_do_not_take_the_size_of_another_around_them() {
    let inner = Announcement {
        arguments: CollectiveArguments {
            name: Some("_broadcast_oop"),
            ..CollectiveArguments::default()
        },
        ..range(3, 2, 8)
    };
    let heard = heard(&[reduces(0, 10, 100, 1), inner], &[(GENERIC, 5, 0)]);
    assert_eq!(heard[0].kind, Some(CollectiveKind::Broadcast));
    assert_eq!(heard[0].bytes, None);
}
