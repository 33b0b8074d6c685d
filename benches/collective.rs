//! A collective from nothing: the machine, the placement, the rounds and the price.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use stepcast::cost::CollectiveCost;
use stepcast::spec::Cluster;
use stepcast::topology::{GpuIndex, Placement, Topology};
use stepcast::units::Bytes;
use stepcast::work::{Collective, CollectiveKind};

/// 2,048 DGX H100; numbers as in `hardware/clusters`.
const CLUSTER: &str = r#"
name = "bench"
gpus_per_node = 8
node_count = 2048
scale_up_bandwidth = "450 GB/s"
scale_up_fraction = 0.815
scale_up_latency = "0.8 us"
scale_up_switched = true
in_switch_reduction = true
nics_per_node = 8
nic_bandwidth = "400 Gbit/s"
nic_fraction = 0.94
network_latency = "8 us"
spine_latency = "2 us"
nodes_per_leaf = 32
host_bandwidth = "50 GB/s"

[gpu]
name = "H100"
vendor = "nvidia"
architecture = "hopper"
memory = "80 GB"
memory_bandwidth = "3.35 TB/s"
memory_bandwidth_fraction = 0.9
sm_count = 132
l2_cache = "50 MB"
peak_fp32 = "67 TFLOP/s"
peak_fp16 = "989 TFLOP/s"
gemm_fraction = 0.7
attention_forward_fraction = 0.6
attention_backward_fraction = 0.5
kernel_floor = "2 us"
launch_latency = "5 us"
tdp = "700 W"
"#;

/// `count` groups of `nodes` ranks, each on its own GPU of every node.
fn rails(nodes: u64, count: u64) -> Placement {
    let group = |local| (0..nodes).map(|node| GpuIndex(8 * node + local)).collect();
    Placement::new((0..count).map(group).collect())
}

fn collectives(criterion: &mut Criterion) {
    let cluster: Cluster = match toml::from_str(CLUSTER) {
        Ok(cluster) => cluster,
        Err(problem) => panic!("the cluster of this file: {problem}"),
    };
    let reduce = Collective { kind: CollectiveKind::AllReduce, bytes: Bytes::new(1e9) };
    let cold = |placement: Placement| {
        CollectiveCost::new(&Topology::new(&cluster)).price(&reduce, &placement)
    };
    criterion.bench_function("all-reduce/1024 ranks on 128 nodes, cold", |bencher| {
        bencher.iter(|| cold(Placement::alone(0..black_box(1024))));
    });
    criterion.bench_function("all-reduce/8 rails of 128 ranks, cold", |bencher| {
        bencher.iter(|| cold(rails(black_box(128), 8)));
    });
    criterion.bench_function("all-reduce/16384 ranks on 2048 nodes, cold", |bencher| {
        bencher.iter(|| cold(Placement::alone(0..black_box(16_384))));
    });
    let cost = CollectiveCost::new(&Topology::new(&cluster));
    let placement = rails(128, 8);
    criterion.bench_function("all-reduce/8 rails of 128 ranks, known", |bencher| {
        bencher.iter(|| cost.price(black_box(&reduce), black_box(&placement)));
    });
}

criterion_group!(benches, collectives);
criterion_main!(benches);
