//! Tests of the form of attention backward.

use super::*;
use proptest::prelude::*;

/// Near H100 SXM: FLOP/us, bytes/us.
const FACTS: Facts =
    Facts { sm_count: 132.0, peak: 989e6, bandwidth: 3.35e6, cache_bytes: 50.0 * 1048576.0 };

fn starts() -> Vec<f64> {
    AttentionBackward::PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

fn shape(batch: f64, length: f64, heads: f64, forward_us: f64) -> AttentionBackwardShape {
    AttentionBackwardShape {
        batch,
        query_length: length,
        key_length: length,
        heads,
        kv_heads: heads,
        head_dim: 128.0,
        value_head_dim: 128.0,
        causal: true,
        deterministic: false,
        forward_us,
    }
}

fn time(shape: AttentionBackwardShape) -> f64 {
    AttentionBackward::time_us(&starts(), &FACTS, &shape)
}

#[test]
fn starting_values_are_within_a_fifth_of_flash_attention_3_on_h100() {
    // flash-attention issue 1791: 873 us forward, 2585 us backward.
    let time = time(shape(2.0, 8192.0, 16.0, 873.0));
    assert!((time / 2585.0 - 1.0).abs() < 0.2, "{time}");
}

#[test]
fn a_forward_that_takes_twice_the_time_tells_by_its_share() {
    let (once, twice) = (shape(2.0, 8192.0, 16.0, 900.0), shape(2.0, 8192.0, 16.0, 1800.0));
    let launch = starts()[LAUNCH];
    let ratio = (time(twice) - launch) / (time(once) - launch);
    assert!((ratio - 2.0_f64.powf(starts()[FORWARD_SHARE])).abs() < 1e-9, "{ratio}");
}

#[test]
fn deterministic_backward_takes_a_tenth_more() {
    let base = shape(2.0, 8192.0, 16.0, 873.0);
    let deterministic = AttentionBackwardShape { deterministic: true, ..base };
    assert!((time(deterministic) / time(base) - 1.1016).abs() < 1e-4);
}

#[test]
fn a_shape_of_zeros_and_nans_takes_the_time_of_the_smallest() {
    for size in [0.0, -1.0, f64::NAN] {
        let shape = AttentionBackwardShape {
            head_dim: size,
            value_head_dim: size,
            ..shape(size, size, size, size)
        };
        let time = time(shape);
        assert!(time.is_finite() && time > 0.0, "{size}: {time}");
    }
    assert!(time(shape(f64::INFINITY, 1e300, 1e40, f64::INFINITY)).is_finite());
}

proptest! {
    #[test]
    fn more_work_never_takes_less_time(
        batch in 0_u32..64,
        length in 0_u32..100_000,
        heads in 0_u32..128,
        forward_us in 0.0..1e6,
        by in 1_u32..4,
    ) {
        let by = f64::from(by);
        let base = shape(f64::from(batch), f64::from(length), f64::from(heads), forward_us);
        let least = time(base) * (1.0 - 1e-9);
        prop_assert!(least.is_finite() && least > 0.0);
        let larger = [
            AttentionBackwardShape { batch: base.batch * by, ..base },
            AttentionBackwardShape { heads: base.heads * by, ..base },
            AttentionBackwardShape { key_length: base.key_length * by, ..base },
            AttentionBackwardShape { query_length: base.query_length * by, ..base },
            AttentionBackwardShape { forward_us: base.forward_us * by, ..base },
            AttentionBackwardShape { causal: false, ..base },
        ];
        for larger in larger {
            prop_assert!(time(larger) >= least, "{larger:?} of {base:?}");
        }
    }
}
