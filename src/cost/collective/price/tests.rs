//! Prices against shared rates, against each other, and by hand.

use super::super::algorithm::Flow;
use super::*;
use crate::des::{Activity, solve};
use crate::spec::Cluster;
use crate::topology::tests::cluster;
use crate::topology::{Device, GpuIndex, LinkId};
use crate::units::BytesPerSecond;
use proptest::prelude::*;

mod learned;

const KINDS: [CollectiveKind; 6] = CollectiveKind::ALL;

fn operation(kind: CollectiveKind, bytes: f64) -> Collective {
    Collective { kind, bytes: Bytes::new(bytes) }
}

fn price_on(cluster: &Cluster, placement: &Placement, collective: Collective) -> CollectivePrice {
    CollectiveCost::new(&Topology::new(cluster)).price(&collective, placement)
}

/// A group with a rank on each of some nodes, at each of the local GPUs, as one group a local GPU.
fn rails(nodes: u64, locals: u64) -> Placement {
    let group = |local| (0..nodes).map(|node| GpuIndex(8 * node + local)).collect();
    Placement::new((0..locals).map(group).collect())
}

/// The DGX H100 of `hardware/clusters`, as far as collectives see it.
fn h100(node_count: u64) -> Cluster {
    let overrides = r#"
        scale_up_bandwidth = "450 GB/s"
        scale_up_fraction = 0.815
        scale_up_latency = "0.8 us"
        in_switch_reduction = true
        in_switch_fraction = 0.604
        nic_bandwidth = "400 Gbit/s"
        nic_fraction = 0.97
        network_latency = "8 us"
        nodes_per_leaf = 32"#;
    let mut cluster = cluster(node_count, overrides);
    cluster.gpu.memory_bandwidth = BytesPerSecond::new(3.35e12);
    cluster
}

/// The GB200 NVL72 of `hardware/clusters`, as far as collectives see it.
fn gb200(node_count: u64) -> Cluster {
    let overrides = r#"
        gpus_per_node = 4
        scale_up_domain_size = 72
        scale_up_bandwidth = "900 GB/s"
        scale_up_fraction = 0.758
        scale_up_latency = "1.2 us"
        in_switch_reduction = true
        in_switch_fraction = 0.47
        nics_per_node = 4
        nic_bandwidth = "400 Gbit/s"
        nic_fraction = 0.97
        network_latency = "8 us"
        nodes_per_leaf = 144"#;
    let mut cluster = cluster(node_count, overrides);
    cluster.gpu.memory_bandwidth = BytesPerSecond::new(8e12);
    cluster
}

/// GB/s of buffer times `2 (n - 1) / n`, as nccl-tests prints it.
fn bus_rate(cluster: &Cluster, ranks: u64, bytes: f64) -> f64 {
    let all = Placement::alone(0..ranks);
    let price = price_on(cluster, &all, operation(CollectiveKind::AllReduce, bytes));
    bytes / price.time.value() * 2.0 * (ranks - 1) as f64 / ranks as f64 / 1e9
}

#[test]
fn a_ring_of_eight_by_hand() {
    // 8 GPUs at 100 GB/s, 1 us a hop, 1 TB/s of memory; all-reduce of 800 MB, so parts of 100 MB.
    // Links: 14 rounds * 100 MB / 100 GB/s = 14 ms.
    // Own part: 100 MB / (0.2 * 1 TB/s) = 0.5 ms.
    // Simple: 8.4 us + 14 steps * 1 us * 3.4 / 0.6 = 87.733 us.
    // LL128 would take the 14 ms / 0.92 = 15.2 ms, LL twice 14 ms.
    let all = Placement::alone(0..8);
    let price = price_on(&cluster(1, ""), &all, operation(CollectiveKind::AllReduce, 800e6));
    assert_eq!((price.algorithm, price.protocol), ("ring", "Simple"));
    assert!((price.transfer.us() - 14_500.0).abs() < 1e-6, "{price:?}");
    assert!((price.time.us() - 14_587.733_333).abs() < 1e-5, "{price:?}");
    assert!((price.scale_up_fraction - 14_000.0 / 14_587.733_333).abs() < 1e-6);
    assert_eq!(price.network_fraction, 0.0);
}

#[test]
fn a_small_message_takes_the_lean_protocol() {
    // LL: 6.6 us + 14 steps * 1 us, and 14 * 1 kB / (100 GB/s * 0.5) = 0.28 us, copy 0.005 us.
    let all = Placement::alone(0..8);
    let price = price_on(&cluster(1, ""), &all, operation(CollectiveKind::AllReduce, 8e3));
    assert_eq!(price.protocol, "LL");
    assert!((price.time.us() - 20.885).abs() < 1e-6, "{price:?}");
}

#[test]
fn rates_are_near_published_ones() {
    let near = |found: f64, published: f64| {
        assert!((found / published - 1.0).abs() < 0.1, "{found} for {published}");
    };
    // 8 H100 with NVLS at 512 MB and 16 GB (aiconfigurator, aws-samples/awsome-distributed-ai).
    near(bus_rate(&h100(1), 8, 512e6), 445.0);
    near(bus_rate(&h100(1), 8, 16e9), 480.0);
    // 2 nodes of 8 at 4 GB (oci-hpc), 12 nodes at 1 and 8 GiB (coreweave/nccl-tests).
    near(bus_rate(&h100(2), 16, 4.29e9), 467.0);
    near(bus_rate(&h100(12), 96, 1.07e9), 366.0);
    near(bus_rate(&h100(12), 96, 8.59e9), 387.0);
    // 2 nodes of 8 A100 with 4 NICs: a ring at 200 Gbit/s each (NVIDIA/nccl-tests issue 152), a
    // tree at 100 (awslabs/awsome-distributed-ai, p4de).
    let a100 = |nic: &str| {
        let overrides = format!(
            "scale_up_bandwidth = \"300 GB/s\"\nscale_up_fraction = 0.78\nnics_per_node = 4\n\
             nic_bandwidth = \"{nic} Gbit/s\"\nnic_fraction = 0.95"
        );
        cluster(2, &overrides)
    };
    near(bus_rate(&a100("200"), 16, 1.07e9), 89.5);
    near(bus_rate(&a100("100"), 16, 1.07e9), 77.0);
    // A rack of 72 GB200 and 20 of them (coreweave/nccl-tests).
    near(bus_rate(&gb200(18), 72, 8.59e9), 835.0);
    near(bus_rate(&gb200(360), 1440, 8.59e9), 382.0);
    near(bus_rate(&gb200(360), 1440, 1.07e9), 219.0);
}

/// Bytes that each rank sends, over the rounds of an algorithm.
fn sent(name: &str, kind: CollectiveKind, cluster: &Cluster, group: &[u64]) -> Vec<f64> {
    let topology = Topology::new(cluster);
    let group: Vec<GpuIndex> = group.iter().copied().map(GpuIndex).collect();
    let algorithm = ALGORITHMS.iter().find(|algorithm| algorithm.name() == name).unwrap();
    let rounds = algorithm.rounds(&operation(kind, 1.0), &group, &topology).unwrap();
    let by = |gpu: &GpuIndex| -> f64 {
        let of = |round: &Round| -> f64 {
            let own = round.flows.iter().filter(|flow| flow.from == Device::Gpu(*gpu));
            own.map(|flow| flow.bytes.value()).sum::<f64>() * round.repeat as f64
        };
        rounds.iter().map(of).sum()
    };
    group.iter().map(by).collect()
}

#[test]
fn each_algorithm_sends_what_the_textbook_says() {
    use CollectiveKind::{AllGather, AllReduce, AllToAll, ReduceScatter, SendReceive};
    let (node, nodes) = (cluster(1, "in_switch_reduction = true"), h100(4));
    let one: Vec<u64> = (0..8).collect();
    let four: Vec<u64> = (0..32).collect();
    let each = |sent: Vec<f64>, expected: f64| {
        assert!(sent.iter().all(|bytes| (bytes - expected).abs() < 1e-12), "{sent:?} {expected}");
    };
    for (cluster, group) in [(&node, &one), (&nodes, &four), (&nodes, &vec![0, 8, 16, 24])] {
        let n = group.len() as f64;
        each(sent("ring", AllReduce, cluster, group), 2.0 * (n - 1.0) / n);
        each(sent("ring", AllGather, cluster, group), (n - 1.0) / n);
        each(sent("ring", ReduceScatter, cluster, group), (n - 1.0) / n);
        each(sent("pairwise", AllToAll, cluster, group), (n - 1.0) / n);
    }
    each(sent("nvls", AllReduce, &node, &one), 1.0);
    each(sent("direct", SendReceive, &node, &[3, 5])[..1].to_vec(), 1.0);
    // The tree: n - 1 edges of each tree carry half up and half down, so 2 (n - 1) in all.
    let tree = sent("tree", AllReduce, &nodes, &[0, 8, 16, 24]);
    assert!((tree.iter().sum::<f64>() - 2.0 * 3.0).abs() < 1e-12);
    assert!(tree.iter().all(|bytes| *bytes <= 2.0 + 1e-12));
    let tree = sent("tree", AllReduce, &nodes, &four);
    assert!((tree.iter().sum::<f64>() - 2.0 * 31.0).abs() < 1e-9);
    // Two levels: every rank with its switch, and 2 (4 - 1) between the four domains.
    let two = sent("hierarchical", AllReduce, &nodes, &four);
    assert!((two.iter().sum::<f64>() - (32.0 + 6.0)).abs() < 1e-9);
}

#[test]
fn only_all_reduce_is_reduced_in_the_switch() {
    let all = Placement::alone(0..8);
    for kind in KINDS {
        let algorithm = price_on(&h100(1), &all, operation(kind, 1e9)).algorithm;
        assert_eq!(algorithm == "nvls", kind == CollectiveKind::AllReduce, "{kind:?}");
    }
}

#[test]
fn siblings_share_the_nics_of_their_nodes() {
    let big = operation(CollectiveKind::AllGather, 8e9);
    let time = |nics: u64, placement: &Placement| {
        let cluster = cluster(4, &format!("nics_per_node = {nics}"));
        price_on(&cluster, placement, big).transfer.value()
    };
    // With a NIC for each GPU siblings do not meet; with one for all they get an eighth each.
    let copy = 2e9 / 0.2e12;
    assert!((time(8, &rails(4, 8)) - time(8, &rails(4, 1))).abs() < 1e-9);
    assert!((time(1, &rails(4, 8)) - copy - 8.0 * (time(1, &rails(4, 1)) - copy)).abs() < 1e-9);
    // One ring over all 32 GPUs uses every NIC: 31 / 32 * 8 GB at 80 GB/s, and copies its 32nd.
    let whole = time(8, &Placement::alone(0..32));
    let expected = 31.0 / 32.0 * 8e9 / 80e9 + 0.25e9 / 0.2e12;
    assert!((whole - expected).abs() < 1e-9, "{whole} {expected}");
}

#[test]
fn fractions_say_which_part_of_the_machine_is_taken() {
    let big = operation(CollectiveKind::AllGather, 8e9);
    let rail = price_on(&cluster(4, ""), &rails(4, 8), big);
    assert!(rail.network_fraction > 0.9 && rail.scale_up_fraction == 0.0, "{rail:?}");
    let inside = price_on(&cluster(4, ""), &Placement::alone(0..8), big);
    assert!(inside.network_fraction == 0.0 && inside.scale_up_fraction > 0.85, "{inside:?}");
    let whole = price_on(&cluster(4, ""), &Placement::alone(0..32), big);
    // Per rank a round sends 7/8 of a part inside at 100 GB/s, and 1/8 out at 10 GB/s.
    let ratio = whole.scale_up_fraction / whole.network_fraction;
    assert!((ratio - 0.7).abs() < 1e-9, "{whole:?}");
}

#[test]
fn what_moves_nothing_costs_nothing_and_no_network_takes_for_ever() {
    for kind in KINDS {
        let one = Placement::alone([3]);
        assert_eq!(price_on(&cluster(1, ""), &one, operation(kind, 1e9)).time, Seconds::ZERO);
        let none = Placement::new(vec![]);
        assert_eq!(price_on(&cluster(1, ""), &none, operation(kind, 1e9)).time, Seconds::ZERO);
        let empty = operation(kind, 0.0);
        let pair = Placement::alone([0, 8]);
        assert_eq!(price_on(&cluster(2, ""), &pair, empty).time, Seconds::ZERO);
        let cut = price_on(&cluster(2, "nics_per_node = 0"), &pair, operation(kind, 1e6));
        assert!(cut.time.value().is_infinite() && cut.network_fraction == 1.0, "{cut:?}");
    }
}

#[test]
fn a_remembered_price_is_the_same_price() {
    let cost = CollectiveCost::new(&Topology::new(&h100(4)));
    let all = Placement::alone(0..32);
    for bytes in [1e9, 1e6, 1e9] {
        let collective = operation(CollectiveKind::AllReduce, bytes);
        let fresh = price_on(&h100(4), &all, collective);
        assert_eq!(cost.price(&collective, &all), fresh);
    }
}

#[test]
fn a_direct_mesh_gives_a_pair_one_link() {
    let mut mesh = cluster(1, "scale_up_switched = false");
    "amd".clone_into(&mut mesh.gpu.vendor);
    let big = operation(CollectiveKind::AllReduce, 8e9);
    let wire = |gpus: std::ops::Range<u64>| {
        let ranks = gpus.end as f64;
        let price = price_on(&mesh, &Placement::alone(gpus), big);
        price.transfer.value() - 8e9 / ranks / 0.2e12
    };
    // All 8: all 7 links of each, so the port's 100 GB/s. Two: one link, a seventh of it.
    assert!((wire(0..8) - 1.75 * 8e9 / 100e9).abs() < 1e-9);
    assert!((wire(0..2) - 8e9 / (100e9 / 7.0)).abs() < 1e-9);
}

/// A machine, and groups of equal size on it that do not overlap.
fn scene() -> impl Strategy<Value = (Cluster, Placement)> {
    let machine = (1u64..6, 1u64..4, prop::sample::select(vec![1u64, 2, 3, 4, 8, 16]), 0..4);
    let groups = (2usize..9, 1usize..5, any::<bool>());
    (machine, groups, any::<prop::sample::Index>()).prop_map(
        |((nodes, leaf, nics, flavour), (size, count, strided), pick)| {
            let overrides = format!(
                "nics_per_node = {nics}\nnodes_per_leaf = {leaf}\nspine_fraction = 0.5\n{}",
                match flavour {
                    0 => "in_switch_reduction = true",
                    1 => "scale_up_switched = false",
                    2 => "gpus_per_node = 4\nscale_up_domain_size = 8",
                    _ => "",
                }
            );
            let mut cluster = cluster(nodes, &overrides);
            if flavour == 1 {
                "amd".clone_into(&mut cluster.gpu.vendor);
            }
            let gpus = cluster.gpu_count() as usize;
            let size = size.min(gpus);
            let count = count.min(gpus / size);
            let start = pick.index(gpus - size * count + 1);
            let group = |index: usize| -> Vec<GpuIndex> {
                let at = |rank| if strided { rank * count + index } else { index * size + rank };
                (0..size).map(|rank| GpuIndex((start + at(rank)) as u64)).collect()
            };
            (cluster, Placement::new((0..count).map(group).collect()))
        },
    )
}

/// The slowest of some flows at max-min fair rates, when all flows move in proportion to their
/// bytes, or when they are equal and each for itself.
fn slowest(flows: &[Flow], topology: &Topology, proportional: bool) -> f64 {
    let mut links: Vec<LinkId> = Vec::new();
    let mut demands: Vec<Vec<(usize, f64)>> = Vec::new();
    for flow in flows {
        let mut route = Vec::new();
        topology.route_into(flow.from, flow.to, &mut route);
        let weight = if proportional { flow.bytes.value() } else { 1.0 };
        let demand = route.iter().map(|link| {
            let at = links.iter().position(|known| known == link).unwrap_or_else(|| {
                links.push(*link);
                links.len() - 1
            });
            (at, weight)
        });
        demands.push(demand.collect());
    }
    let capacities: Vec<f64> = links.iter().map(|link| topology.capacity(*link).value()).collect();
    let activities: Vec<Activity> =
        demands.iter().map(|demands| Activity { limit: f64::INFINITY, demands }).collect();
    let rates = solve(&capacities, &activities);
    let time = |(flow, rate): (&Flow, &f64)| {
        if proportional { 1.0 / rate } else { flow.bytes.value() / rate }
    };
    flows.iter().zip(&rates).map(time).fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn the_bottleneck_link_is_what_fair_rates_give((cluster, placement) in scene()) {
        let topology = Topology::new(&cluster);
        for (algorithm, kind) in ALGORITHMS.iter().flat_map(|one| KINDS.map(|kind| (one, kind))) {
            let unit = operation(kind, 1e6);
            let groups = placement.groups().iter();
            let all: Vec<Option<Vec<Round>>> =
                groups.map(|group| algorithm.rounds(&unit, group, &topology)).collect();
            if all[0].is_none() {
                continue;
            }
            let mut flows = Vec::new();
            let mut loads = Loads::default();
            for (rounds, group) in all.into_iter().zip(placement.groups()) {
                let Some(rounds) = rounds else { continue };
                prop_assert_eq!(rounds.len(), 1);
                flows.extend(rounds.into_iter().flat_map(|round| round.flows));
                loads.merge(&algorithm.loads(&unit, group, &topology).unwrap()[0].1);
            }
            let busy = loads.busy(&topology);
            let closed = busy.scale_up.max(busy.network);
            let explicit = slowest(&flows, &topology, true);
            prop_assert!((closed / explicit - 1.0).abs() < 1e-9, "{closed} {explicit}");
            if flows.iter().all(|flow| flow.bytes == flows[0].bytes) {
                let each = slowest(&flows, &topology, false);
                prop_assert!((closed / each - 1.0).abs() < 1e-9, "{closed} {each}");
            }
        }
    }

    #[test]
    fn no_faster_part_slows_anything(
        (cluster, placement) in scene(),
        part in 0..5,
        kind in prop::sample::select(KINDS.to_vec()),
        bytes in prop::sample::select(vec![1e3, 1e6, 1e9]),
    ) {
        let mut faster = cluster.clone();
        match part {
            0 => faster.scale_up_bandwidth = faster.scale_up_bandwidth * 2.0,
            1 => faster.nic_bandwidth = faster.nic_bandwidth * 2.0,
            2 => faster.spine_fraction *= 2.0,
            3 => faster.gpu.memory_bandwidth = faster.gpu.memory_bandwidth * 2.0,
            _ => faster.scale_up_latency = faster.scale_up_latency / 2.0,
        }
        let before = price_on(&cluster, &placement, operation(kind, bytes)).time;
        let after = price_on(&faster, &placement, operation(kind, bytes)).time;
        prop_assert!(after.value() <= before.value() * (1.0 + 1e-12));
    }

    #[test]
    fn more_bytes_take_no_less_time(
        (cluster, placement) in scene(),
        kind in prop::sample::select(KINDS.to_vec()),
        bytes in 1.0..1e10,
    ) {
        let less = price_on(&cluster, &placement, operation(kind, bytes));
        let more = price_on(&cluster, &placement, operation(kind, bytes * 1.5));
        prop_assert!(less.time.value() <= more.time.value() * (1.0 + 1e-12));
        prop_assert!(less.transfer.value() <= less.time.value());
        for fraction in [less.scale_up_fraction, less.network_fraction] {
            prop_assert!((0.0..=1.0).contains(&fraction));
        }
    }
}
