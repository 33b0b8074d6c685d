//! What was measured within a domain, before the algorithms.

use std::collections::BTreeMap;

use super::*;
use crate::cost::learned::{CollectiveForm, Form, Parameter};
use crate::spec::{Fit, LearnedModel, MeasuredFit};

/// What a table of the cluster's GPU would have taught: the values that searches start from.
fn measured(cluster: &Cluster) -> MeasuredFit {
    let value = |parameter: &Parameter| (parameter.name.to_owned(), parameter.start);
    let model = |kind: CollectiveKind| LearnedModel {
        kind: CollectiveForm::KIND.to_owned(),
        case: kind.name().to_owned(),
        version: CollectiveForm::VERSION,
        row_count: 100,
        tables: Vec::new(),
        sources: Vec::new(),
        parameters: CollectiveForm::PARAMETERS.iter().map(value).collect(),
        domain: BTreeMap::new(),
        relative_error: 0.04,
        residuals: BTreeMap::new(),
        measured_us: BTreeMap::new(),
        trees: crate::spec::LearnedTrees::default(),
    };
    let fit = Fit { models: KINDS.map(model).to_vec(), ..Fit::default() };
    MeasuredFit { fit: fit.into(), gpu: cluster.gpu.clone() }
}

fn learned(cluster: &Cluster) -> Option<LearnedCollectives> {
    LearnedCollectives::new(cluster, &[measured(cluster)]).unwrap()
}

fn learned_price(cluster: &Cluster, placement: &Placement, of: Collective) -> CollectivePrice {
    let cost = CollectiveCost::new(&Topology::new(cluster));
    cost.with_learned(learned(cluster)).price(&of, placement)
}

#[test]
fn what_was_measured_answers_within_a_domain_and_says_so() {
    let machine = h100(2);
    let eight = Placement::alone(0..8);
    for (kind, bytes) in KINDS.into_iter().flat_map(|kind| [1e4, 1e7, 1e9].map(|it| (kind, it))) {
        let placement = if kind == CollectiveKind::SendReceive {
            Placement::alone([0, 5])
        } else {
            eight.clone()
        };
        let price = learned_price(&machine, &placement, operation(kind, bytes));
        let ranks = placement.group().len();
        let answer = learned(&machine).unwrap().predict(kind, ranks, bytes).unwrap();
        assert!((price.time.us() / answer.time_us - 1.0).abs() < 1e-9, "{price:?}");
        assert_eq!((price.evidence, price.relative_error), (Evidence::Fit, 0.04));
        assert!(price.transfer <= price.time && price.transfer > Seconds::ZERO, "{price:?}");
        assert!(price.scale_up_fraction > 0.0 && price.network_fraction == 0.0, "{price:?}");
    }
    // Across nodes and in groups larger than were measured the algorithms answer.
    let reduce = operation(CollectiveKind::AllReduce, 1e9);
    for placement in [Placement::alone(0..16), Placement::alone([0, 8])] {
        let price = learned_price(&machine, &placement, reduce);
        assert_eq!(price, price_on(&machine, &placement, reduce));
        assert_eq!(price.evidence, Evidence::Roofline);
    }
}

#[test]
fn other_links_than_those_measured_are_left_to_the_algorithms() {
    let machine = h100(1);
    let known = learned(&machine).unwrap();
    assert!(known.predict(CollectiveKind::AllReduce, 8, 1e9).is_some());
    assert!(known.predict(CollectiveKind::AllReduce, 9, 1e9).is_none());
    let mut halved = machine.clone();
    halved.scale_up_bandwidth = machine.scale_up_bandwidth * 0.5;
    assert!(learned(&halved).is_none());
    let mut other = machine.clone();
    "Another".clone_into(&mut other.gpu.name);
    let of_other = LearnedCollectives::new(&machine, &[measured(&other)]).unwrap();
    assert!(of_other.is_none(), "links are no fact of a GPU like it");
}

#[test]
fn siblings_on_the_same_links_stretch_what_was_measured() {
    // Two groups of four that overlap in all their ports: every link has twice the bytes.
    let machine = h100(1);
    let group = |_| (0..4).map(GpuIndex).collect();
    let alone = Placement::new((0..1).map(group).collect());
    let twice = Placement::new((0..2).map(group).collect());
    let gather = operation(CollectiveKind::AllGather, 1e9);
    let [one, two] = [&alone, &twice].map(|it| learned_price(&machine, it, gather));
    assert!((two.transfer / one.transfer - 2.0).abs() < 1e-9);
    let latency = |price: CollectivePrice| (price.time - price.transfer).us();
    assert!((latency(one) - latency(two)).abs() < 1e-9);
    // Siblings beside it do not.
    let apart =
        Placement::new(vec![(0..4).map(GpuIndex).collect(), (4..8).map(GpuIndex).collect()]);
    assert_eq!(learned_price(&machine, &apart, gather).time, one.time);
}
