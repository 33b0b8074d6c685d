//! Kernels made up with a known slowdown, and those that must not be compared.

use super::*;
use crate::trace::{Builder, Classes, DeviceEvent, DeviceKind, Operator};
use proptest::prelude::*;

/// Name, blocks, start and length in nanoseconds of kernels of one stream; one collective runs on
/// another from 1 to 2 ms.
fn recording(kernels: &[(&str, u32, i64, i64)]) -> Recording {
    let classes = Classes::shipped();
    let mut builder = Builder::new("a.json", &classes);
    let collective = ("ncclDevKernel_AllReduce", 24, 1_000_000, 1_000_000);
    for (stream, &(name, blocks, start_ns, length)) in
        kernels.iter().map(|it| (7, it)).chain([(20, &collective)])
    {
        builder.device_event(DeviceEvent {
            kind: DeviceKind::Kernel,
            device: 0,
            stream,
            name,
            start_ns,
            end_ns: start_ns + length,
            correlation: None,
            context: 0,
            bytes: None,
            collective: None,
        });
        builder.grid([blocks, 1, 1]);
    }
    builder.finish()
}

const ADD: &str = "vectorized_elementwise_kernel<add>";
const MUL: &str = "vectorized_elementwise_kernel<mul>";

/// Two kernels alone and two beside communication, of these lengths in microseconds.
fn four(name: &'static str, blocks: u32, alone: [i64; 2], beside: [i64; 2]) -> Vec<Made> {
    let at = |start: i64, lengths: [i64; 2]| {
        (0..).zip(lengths).map(move |(it, us)| {
            (name, blocks, start + 100_000 * it + 10 * i64::from(blocks % 9), us * 1_000)
        })
    };
    at(0, alone).chain(at(1_100_000, beside)).collect()
}

type Made = (&'static str, u32, i64, i64);

fn found(kernels: &[Made]) -> Interferences {
    interference(&recording(kernels))
}

fn memory(found: &Interferences) -> &Interference {
    found.factors.iter().find(|it| it.class == "memory_bound").expect("a factor")
}

#[test]
fn kernels_of_one_name_and_another_grid_are_others() {
    // Of 4096 blocks 20 us alone and 24 beside; of 8192 blocks twice that and half as much again.
    let kernels = [four(ADD, 4096, [20, 20], [24, 24]), four(ADD, 8192, [40, 40], [60, 60])];
    let found = found(&kernels.concat());
    let memory = memory(&found);
    // 2 x 24 + 2 x 60 us there, 2 x 20 + 2 x 40 alone; by time a quarter is below 1.2.
    assert!((memory.factor - 168.0 / 120.0).abs() < 1e-9, "{memory:?}");
    assert!((memory.factor_p25 - 1.2).abs() < 1e-9 && (memory.factor_p75 - 1.5).abs() < 1e-9);
    assert!((memory.kind_median - 1.35).abs() < 1e-9, "{memory:?}");
    assert_eq!((memory.kind_count, memory.beside_count, memory.alone_count), (2, 4, 4));
    assert_eq!(memory.factor_of_told, Some(memory.factor));
    assert!(found.left_out.is_empty(), "{found:?}");
}

#[test]
fn persistent_kernels_of_unknown_shapes_are_left_out_and_counted() {
    // 132 blocks whatever the work: 20 and 80 us alone.
    let kernels = [four(ADD, 132, [20, 80], [90, 90]), four(MUL, 4096, [20, 20], [22, 22])];
    let found = found(&kernels.concat());
    assert!((memory(&found).factor - 1.1).abs() < 1e-9, "{found:?}");
    assert_eq!(found.left_out, BTreeMap::from([(VARIED.to_owned(), 2)]));
}

#[test]
fn one_small_grid_and_one_time_counts_and_is_told_apart() {
    let kernels = [four(ADD, 132, [20, 20], [36, 36]), four(MUL, 4096, [20, 20], [22, 22])];
    let found = found(&kernels.concat());
    let memory = memory(&found);
    assert!((memory.factor - 116.0 / 80.0).abs() < 1e-9, "{memory:?}");
    assert!((memory.factor_of_told.unwrap() - 1.1).abs() < 1e-9, "{memory:?}");
    assert_eq!((memory.beside_count, memory.told_count), (4, 2));
}

#[test]
fn a_class_that_seems_faster_beside_communication_has_no_factor() {
    let kernels = [four(ADD, 4096, [20, 20], [12, 12]), four(MUL, 4096, [10, 10], [11, 11])];
    let found = found(&kernels.concat());
    assert!(found.factors.is_empty(), "{found:?}");
    assert_eq!(found.left_out, BTreeMap::from([(FASTER.to_owned(), 2)]));
}

#[test]
fn kernels_that_never_ran_alone_are_counted() {
    let found = found(&four(ADD, 4096, [20, 20], [24, 24])[2..]);
    assert_eq!(found.left_out, BTreeMap::from([(NEVER_ALONE.to_owned(), 2)]));
}

#[test]
fn shapes_tell_kernels_of_one_name_and_grid_apart() {
    let later = |(name, blocks, start, length): Made| (name, blocks, start + 300_000, length);
    let others = four(ADD, 132, [90, 90], [99, 99]).into_iter().map(later);
    let both: Vec<Made> = four(ADD, 132, [20, 20], [24, 24]).into_iter().chain(others).collect();
    let mut recording = recording(&both);
    assert!(interference(&recording).factors.is_empty());
    // Each launched in an operator of its own, of two shapes.
    let spans = std::mem::take(&mut recording.timeline.spans);
    let length = |span: &Span| span.end.ps() - span.start.ps();
    let mut calls = Vec::new();
    for (frame, span) in (0..).zip(&spans) {
        let mut call = span.clone();
        (call.lane, call.call) = (Lane::Thread(0), Some(crate::timeline::Call::Launch));
        calls.push(call);
        recording.timeline.frames.push(crate::timeline::Frame {
            process: 0,
            thread: 0,
            start: span.start,
            end: span.end,
            kind: crate::timeline::FrameKind::Operator,
            purpose: None,
            label: span.label,
        });
        let size = if length(span) < 50_000_000 { 16 } else { 64 };
        let dtypes = vec!["float".to_owned()];
        recording.operators.push(Operator { frame, shapes: vec![vec![size]], dtypes });
    }
    let count = spans.len() as u32;
    recording.launched_by = (0..count).map(|it| Some(SpanId(count + it))).collect();
    recording.launched_by.extend(calls.iter().map(|_| None));
    recording.timeline.spans = spans.into_iter().chain(calls).collect();
    let found = interference(&recording);
    // 48 + 198 us beside, 40 + 180 alone.
    assert!((memory(&found).factor - 246.0 / 220.0).abs() < 1e-9, "{found:?}");
    assert_eq!(memory(&found).told_count, 4);
}

proptest! {
    #[test]
    fn a_slowdown_that_lasts_while_communication_runs_is_found_again(
        factor in 1.0_f64..1.9,
        share in 0.5_f64..1.0,
        others in 1_i64..7,
        alone_us in 20_i64..100,
    ) {
        let mut kernels = four(ADD, 4096, [alone_us, alone_us], [1, 1]);
        kernels.truncate(2);
        let alone = alone_us as f64 * 1e3;
        // One begins beside the collective, whose end at 2 ms lies in it.
        let length = alone / (1.0 - share + share / factor);
        let start = 2_000_000 - (share * length).round() as i64;
        kernels.push((ADD, 4096, start, length.round() as i64));
        for it in 1..=others {
            kernels.push((ADD, 4096, 1_000_000 + 100_000 * it, (alone * factor).round() as i64));
        }
        let found = found(&kernels);
        prop_assert!((memory(&found).factor - factor).abs() < 1e-3, "{found:?}");
    }
}
