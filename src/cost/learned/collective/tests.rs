//! What must be true of the form whatever was learned.

use super::*;
use proptest::prelude::*;

const KINDS: [CollectiveKind; 5] = [
    CollectiveKind::AllReduce,
    CollectiveKind::AllGather,
    CollectiveKind::ReduceScatter,
    CollectiveKind::AllToAll,
    CollectiveKind::SendReceive,
];

const FABRICS: [Fabric; 5] =
    [Fabric::NvLink2, Fabric::NvLink3, Fabric::NvLink4, Fabric::NvLink5, Fabric::Pcie];

const FACTS: Facts = Facts { sm_count: 132.0, peak: 1e9, bandwidth: 3e6, cache_bytes: 5e7 };

fn starts() -> Vec<f64> {
    PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

fn shape(kind: CollectiveKind, ranks: f64, bytes: f64) -> CollectiveShape {
    let (element_bytes, fabric) = (2.0, Fabric::NvLink4);
    CollectiveShape { kind, ranks, bytes, element_bytes, fabric, in_switch: true }
}

fn time(shape: &CollectiveShape) -> f64 {
    CollectiveForm::time_us(&starts(), &FACTS, shape)
}

#[test]
fn protocols_change_where_the_tuner_changes_them() {
    // 8 H100, all-gather: 7 steps, 7/8 of the bytes on the wire. LL to LL128:
    // 7.4 + 7 * 1.3 us over 0.875 * (1/141 - 1/331.2) us/KB = 4.63 MB; LL128 to Simple:
    // -5.6 + 7 * 1.5 us over 0.875 * (1/331.2 - 1/360) us/KB = 23.2 MB.
    let eight = shape(CollectiveKind::AllGather, 8.0, 1e6);
    let changes = Fabric::NvLink4.changes(&eight);
    assert!((changes.from_ll / 4.63e6 - 1.0).abs() < 0.01, "{changes:?}");
    assert!((changes.to_simple / 23.2e6 - 1.0).abs() < 0.01, "{changes:?}");
    // Two ranks: Simple starts sooner than LL128, which is never taken.
    let two = Fabric::NvLink4.changes(&shape(CollectiveKind::AllGather, 2.0, 1e6));
    assert_eq!(two.from_ll, two.to_simple);
    let shared_bus = Fabric::Pcie.changes(&eight);
    assert_eq!(shared_bus.from_ll, shared_bus.to_simple);
}

#[test]
fn only_large_groups_reduce_in_the_switch_and_only_what_it_can_add() {
    let large = |kind, ranks, element_bytes| {
        let shape = CollectiveShape { element_bytes, ..shape(kind, ranks, 1e9) };
        let ring = CollectiveShape { in_switch: false, ..shape };
        (time(&shape), time(&ring))
    };
    let (switch, ring) = large(CollectiveKind::AllReduce, 8.0, 2.0);
    assert!(switch < ring, "{switch} {ring}");
    for (kind, ranks, element_bytes) in [
        (CollectiveKind::AllReduce, 4.0, 2.0),
        (CollectiveKind::AllReduce, 8.0, 1.0),
        (CollectiveKind::AllGather, 8.0, 2.0),
    ] {
        let (switch, ring) = large(kind, ranks, element_bytes);
        assert_eq!(switch, ring, "{kind:?} of {ranks} ranks");
    }
}

proptest! {
    #[test]
    fn times_are_positive_finite_and_grow_with_bytes(
        kind in prop::sample::select(KINDS.to_vec()),
        fabric in prop::sample::select(FABRICS.to_vec()),
        ranks in 2u32..73,
        element in prop::sample::select(vec![1.0, 2.0, 4.0]),
        in_switch: bool,
        places in prop::collection::vec(0.0f64..1.0, PARAMETERS.len()),
        exponent in 0.0f64..36.0,
        factor in 1.0f64..1.3,
    ) {
        // Any values between the bounds.
        let values: Vec<f64> = PARAMETERS
            .iter()
            .zip(&places)
            .map(|(one, place)| one.low * (one.high / one.low).powf(*place))
            .collect();
        let shape = CollectiveShape {
            kind,
            ranks: f64::from(ranks),
            bytes: exponent.exp2(),
            element_bytes: element,
            fabric,
            in_switch,
        };
        let more = CollectiveShape { bytes: shape.bytes * factor, ..shape };
        let less_us = CollectiveForm::time_us(&values, &FACTS, &shape);
        let more_us = CollectiveForm::time_us(&values, &FACTS, &more);
        prop_assert!(less_us > 0.0 && less_us.is_finite());
        prop_assert!(more_us >= less_us * (1.0 - 1e-12), "{less_us} {more_us}");
    }

    #[test]
    fn no_shape_breaks_it(ranks: f64, bytes: f64, element_bytes: f64, kind in 0..5usize) {
        let kind = KINDS[kind];
        let shape = CollectiveShape { ranks, bytes, element_bytes, ..shape(kind, 2.0, 1.0) };
        let found = time(&shape);
        prop_assert!(found > 0.0 && found.is_finite(), "{found}");
        let features = CollectiveForm::features(&starts(), &FACTS, &shape, found);
        prop_assert!(features.iter().all(|feature| feature.is_finite()));
    }
}
