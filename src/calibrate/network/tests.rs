//! Which machine a row names.

use super::*;
use crate::work::CollectiveKind;

fn row(gpus: u64, gpus_per_node: u64, network: &str) -> CollectiveRow {
    CollectiveRow {
        kind: CollectiveKind::AllReduce,
        gpus,
        gpus_per_node,
        bytes: 1e9,
        element_bytes: 4.0,
        dtype: "fp32".to_owned(),
        network: network.to_owned(),
    }
}

#[test]
fn a_network_names_the_cluster_and_its_nics() {
    let of = |gpu: &str, row: &CollectiveRow| Machine::of(gpu, row).unwrap();
    let efa = of("A100-SXM", &row(16, 8, "EFA4x100"));
    assert_eq!((efa.file, efa.nodes, efa.nics), ("aws-p4d", 2, Some((4, 100.0))));
    let ib = of("A100-SXM", &row(16, 8, "IB-HDR4x200"));
    assert_eq!((ib.file, ib.nics), ("dgx-a100-hdr", Some((4, 200.0))));
    let p6 = of("B200-SXM", &row(32, 8, "EFAv4 8x400"));
    assert_eq!((p6.file, p6.nodes, p6.nics), ("aws-p6-b200", 4, Some((8, 400.0))));
    let racks = of("GB200", &row(144, 72, "NVL72+IB"));
    assert_eq!((racks.file, racks.nodes, racks.domain), ("gb200-nvl72", 36, Some(72)));
    assert_eq!(racks.nics, None);
    let plain = of("H100-SXM", &row(4, 2, "multi-node"));
    assert_eq!((plain.file, plain.nodes, plain.nics), ("dgx-h100-ndr", 2, None));
    assert!(Machine::of("P4", &row(16, 8, "IB")).unwrap_err().contains("no cluster is known"));
}

#[test]
fn every_named_cluster_ships() {
    for (gpu, plain, efa) in CLUSTERS {
        for file in [*plain, *efa] {
            let machine = Machine { file, nodes: 2, domain: None, nics: Some((4, 200.0)) };
            let cluster = machine.cluster().unwrap();
            assert_eq!(cluster.nics_per_node, 4, "{gpu}");
            assert!((cluster.nic_bandwidth.value() / 25e9 - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn rows_across_nodes_are_priced_by_the_algorithms() {
    let text = "gpu,op,gpus,gpus_per_node,bytes,time_us,dtype,network\n\
                H100-SXM,all_reduce,16,8,4294967296,17228,fp32,RoCE/IB 8x400\n\
                H100-SXM,all_reduce,16,8,4294967296,-3,fp32,RoCE/IB 8x400\n\
                P4,all_reduce,16,8,4294967296,17228,fp32,IB 8x400\n";
    let table = Table::read("test.csv", text.as_bytes()).unwrap();
    let mut machines = Machines::default();
    let found: Vec<_> =
        table.rows().map(|row| across(&row, row.text("gpu").unwrap(), &mut machines)).collect();
    let checked = found[0].as_ref().unwrap().as_ref().unwrap();
    // 4 GiB over 2 nodes of 8 took 17.2 ms (oci-hpc).
    assert!((checked.predicted_us / 17_228.0 - 1.0).abs() < 0.1, "{checked:?}");
    assert_eq!(checked.answered_by, "hierarchical on dgx-h100-ndr");
    assert!(found[1].as_ref().unwrap_err().message.contains("above 0"));
    assert!(found[2].as_ref().unwrap_err().message.contains("no cluster"));
}
