//! What must be true of the form whatever was learned.

use super::*;
use proptest::prelude::*;

const FACTS: Facts = Facts { sm_count: 132.0, peak: 1e9, bandwidth: 3e6, cache_bytes: 5e7 };

fn deepseek(ranks: f64, tokens: f64) -> AllToAllShape {
    AllToAllShape {
        ranks,
        nodes: (ranks / 8.0).max(1.0),
        tokens,
        token_bytes: 7168.0 + 224.0,
        topk: 8.0,
        experts: 256.0,
        sms: 24.0,
    }
}

#[test]
fn a_token_goes_once_to_each_rank_that_wants_it() {
    // One expert: one place. As many as there are: all places.
    let one = AllToAllShape { topk: 1.0, ..deepseek(8.0, 1.0) };
    assert!((one.places(8.0) - 1.0).abs() < 1e-12);
    let every = AllToAllShape { topk: 256.0, ..deepseek(8.0, 1.0) };
    assert_eq!(every.places(8.0), 8.0);
    // 2 of 4 experts on 2 ranks: missed with 2/4 * 1/3, so 2 * (1 - 1/6) places.
    let two = AllToAllShape { topk: 2.0, experts: 4.0, ..deepseek(2.0, 1.0) };
    assert!((two.places(2.0) - 5.0 / 3.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn times_are_positive_finite_and_grow_with_tokens(
        ranks in 2u32..129,
        nodes in 1u32..17,
        tokens in 1u32..200_000,
        more in 1u32..1000,
        topk in 1u32..17,
        experts in 1u32..513,
        sms in 0u32..33,
        places in prop::collection::vec(0.0f64..1.0, PARAMETERS.len()),
    ) {
        let values: Vec<f64> = PARAMETERS
            .iter()
            .zip(&places)
            .map(|(one, place)| one.low * (one.high / one.low).powf(*place))
            .collect();
        let shape = AllToAllShape {
            ranks: f64::from(ranks),
            nodes: f64::from(nodes),
            tokens: f64::from(tokens),
            topk: f64::from(topk),
            experts: f64::from(experts),
            sms: f64::from(sms),
            ..deepseek(8.0, 1.0)
        };
        let less_us = AllToAllForm::time_us(&values, &FACTS, &shape);
        let shape = AllToAllShape { tokens: shape.tokens + f64::from(more), ..shape };
        let more_us = AllToAllForm::time_us(&values, &FACTS, &shape);
        prop_assert!(less_us > 0.0 && less_us.is_finite());
        prop_assert!(more_us > less_us);
    }

    #[test]
    fn no_shape_breaks_it(
        ranks: f64,
        nodes: f64,
        tokens: f64,
        token_bytes: f64,
        topk: f64,
        experts: f64,
        sms: f64,
    ) {
        let starts: Vec<f64> = PARAMETERS.iter().map(|parameter| parameter.start).collect();
        let shape = AllToAllShape { ranks, nodes, tokens, token_bytes, topk, experts, sms };
        let time = AllToAllForm::time_us(&starts, &FACTS, &shape);
        prop_assert!(time > 0.0 && time.is_finite(), "{time}");
        let features = AllToAllForm::features(&starts, &FACTS, &shape, time);
        prop_assert!(features.iter().all(|feature| feature.is_finite()));
    }
}
