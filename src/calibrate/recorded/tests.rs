//! A small recording made here, and the tables that calibration reads back.

use super::*;
use crate::calibrate::{Table, kinds_of};
use crate::timeline::FrameKind;
use crate::trace::{
    Builder, Classes, CollectiveArguments, DeviceEvent, DeviceKind, HostCall, HostFrame, join,
};

/// A rank with an operator of each kind, twice alone, and twice a pass beside a collective.
fn rank(rank: u64, classes: &Classes) -> Recording {
    let mut builder = Builder::new("a.json", classes);
    builder.rank(Some(rank), Some(2));
    builder.device_name(rank, "NVIDIA H100 80GB HBM3");
    let mut correlation = 0;
    let mut run = |name: &str, kernel: &str, shapes: &[&[u64]], start_ns: i64, length_ns: i64| {
        correlation += 1;
        let (pid, thread) = (1, 1);
        let (host, end_ns) = (start_ns - 20_000, start_ns - 10_000);
        let kind = FrameKind::Operator;
        let frame = HostFrame { pid, thread, kind, name, start_ns: host, end_ns };
        let frame = builder.frame(frame);
        let dtypes = vec!["c10::BFloat16".to_owned(); shapes.len()];
        builder.operator(frame, shapes.iter().map(|shape| shape.to_vec()).collect(), dtypes);
        builder.host_call(HostCall {
            pid,
            thread,
            name: "cudaLaunchKernel",
            start_ns: host + 2_000,
            end_ns: host + 6_000,
            correlation: Some(correlation),
            context: 0,
        });
        builder.device_event(DeviceEvent {
            kind: DeviceKind::Kernel,
            device: rank,
            stream: 7,
            name: kernel,
            start_ns,
            end_ns: start_ns + length_ns,
            correlation: Some(correlation),
            context: 0,
            bytes: None,
            collective: None,
        });
    };
    let gemm: &[&[u64]] = &[&[4096], &[2048, 1024], &[1024, 4096]];
    for (at, length_ns) in [(0, 40_000), (100_000, 44_000)] {
        run("aten::addmm", "nvjet_tst_128x256", gemm, 100_000 + at, length_ns);
    }
    let query: &[u64] = &[2, 16, 1024, 128];
    let attention: &[&[u64]] = &[query, query, query];
    let name = "aten::_scaled_dot_product_flash_attention";
    run(name, "flash_fwd_kernel", attention, 300_000, 90_000);
    run("aten::bmm", "ampere_bf16_gemm", &[&[4, 8, 8], &[4, 8, 8]], 400_000, 5_000);
    // Alone, and beside the collective from 1 to 2 ms: 20 against 25 us.
    for (start, length_ns) in
        [(500_000, 20_000), (600_000, 20_000), (1_100_000, 25_000), (1_300_000, 25_000)]
    {
        let shape: &[u64] = &[4096, 1024];
        run("aten::mul", "vectorized_elementwise_kernel", &[shape, shape], start, length_ns);
    }
    builder.device_event(collective(rank));
    builder.finish()
}

/// The collective of a rank: both end together, rank 1 arrives first.
fn collective(rank: u64) -> DeviceEvent<'static> {
    DeviceEvent {
        kind: DeviceKind::Kernel,
        device: rank,
        stream: 20,
        name: "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
        start_ns: 1_000_000 - rank as i64 * 50_000,
        end_ns: 2_000_000,
        correlation: None,
        context: 0,
        bytes: None,
        collective: Some(CollectiveArguments {
            name: Some("allreduce"),
            elements_in: Some(1 << 20),
            elements_out: Some(1 << 20),
            dtype: Some("BFloat16"),
            group_size: Some(2),
            group: Some("0"),
            sequence: Some(4),
            ..CollectiveArguments::default()
        }),
    }
}

fn extracted(options: &ExtractOptions) -> Extract {
    let classes = Classes::shipped();
    let joined = join(vec![rank(0, &classes), rank(1, &classes)]).unwrap();
    extract(&joined.recording, options)
}

fn values(extract: &Extract, file: &str) -> Vec<String> {
    let sheet = extract.sheets.iter().find(|sheet| sheet.file == file);
    sheet.map(|sheet| sheet.rows.iter().map(|row| row.join(",")).collect()).unwrap_or_default()
}

#[test]
fn shapes_become_rows_and_every_kernel_left_out_has_a_reason() {
    let extract = extracted(&ExtractOptions { causal: Some(true), ..ExtractOptions::default() });
    let gpu = "trace,NVIDIA H100 80GB HBM3";
    // Two calls on each rank, of 40 and 44 us.
    assert_eq!(values(&extract, "gemm.csv"), [format!("bf16,2048,4096,1024,{gpu},42.000")]);
    let attention = format!("bf16,2,1024,1024,16,16,128,1,{gpu},90.000");
    assert_eq!(values(&extract, "attention.csv"), [attention]);
    // Reads two arguments of 4096 x 1024 and writes one, 2 bytes each; those beside the collective
    // do not count.
    let pass = format!("mul,bf16,4096,1024,25165824,{gpu},20.000");
    assert_eq!(values(&extract, "passes.csv"), [pass]);
    // From the arrival of rank 0 at 1 ms on, not from that of rank 1 before.
    let reduce = format!("all_reduce,2,2,2097152,bf16,{gpu},1000.000");
    assert_eq!(values(&extract, "collective.csv"), [reduce]);
    let left_out: u64 = extract.left_out.values().sum();
    assert_eq!(extract.used_count + left_out, extract.kernel_count);
    assert_eq!(extract.left_out["beside communication, so not measured alone"], 4);
    assert_eq!(extract.left_out["batched product: tables have none"], 2);
}

#[test]
fn kernels_beside_communication_are_compared_with_the_same_alone() {
    let extract = extracted(&ExtractOptions::default());
    let memory = extract.interference.iter().find(|it| it.class == "memory_bound").unwrap();
    assert!((memory.factor - 1.25).abs() < 1e-9, "{memory:?}");
    assert_eq!((memory.beside_count, memory.alone_count), (4, 4));
    let launches = extract.launches.unwrap();
    assert_eq!((launches.count, launches.call_us), (16, 4.0));
}

#[test]
fn what_shapes_do_not_say_is_asked_for() {
    let extract = extracted(&ExtractOptions::default());
    assert!(values(&extract, "attention.csv").is_empty());
    assert!(extract.left_out.keys().any(|why| why.contains("--causal")), "{:?}", extract.left_out);
}

#[test]
fn calibration_reads_every_table_back() {
    let extract = extracted(&ExtractOptions { causal: Some(true), ..ExtractOptions::default() });
    assert_eq!(extract.sheets.len(), 4);
    for sheet in &extract.sheets {
        let table = Table::read(sheet.file, sheet.csv().as_bytes()).unwrap();
        assert_eq!(table.rows().count(), sheet.rows.len());
        assert!(!kinds_of(&table, None).unwrap().is_empty(), "{}", sheet.file);
    }
}
