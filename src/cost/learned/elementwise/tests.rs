//! Tests of the form of passes over memory.

use super::*;
use crate::cost::learned::form::Facts;
use proptest::prelude::*;

/// Of an A100 SXM, about.
const FACTS: Facts = Facts { sm_count: 108.0, peak: 19.5e6, bandwidth: 2.0e6, cache_bytes: 4.2e7 };

fn starts() -> Vec<f64> {
    ElementwiseForm::PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

fn pass(rows: f64, columns: f64, element_bytes: f64) -> ElementwiseShape {
    ElementwiseShape { rows, columns, bytes: rows * columns * element_bytes }
}

/// 65,536 x 8,192 elements of 12 bytes are 6.44 GB: 4,602 us at 0.7 of 2 TB/s. Beside it 5 us of
/// launch; the 607 rounds of rows take 607 x (0.01 + 8,192e-6) = 11 us, which hide.
#[test]
fn a_large_pass_takes_its_bytes_over_the_bandwidth() {
    let time = ElementwiseForm::time_us(&starts(), &FACTS, &pass(65_536.0, 8192.0, 12.0));
    assert!((time - 4607.0).abs() < 2.0, "{time}");
}

/// A tenth of the cache at twice the bandwidth of memory: 4.2 MB in 1.5 us, beside a launch of 5.
#[test]
fn what_fits_the_cache_is_as_fast_as_the_cache() {
    let mut values = starts();
    values[at::ROW] = 0.0001;
    let small = ElementwiseShape { rows: 1024.0, columns: 1024.0, bytes: 4.2e6 };
    let time = ElementwiseForm::time_us(&values, &FACTS, &small);
    assert!((time - 6.6).abs() < 0.1, "{time}");
}

/// Values between the bounds of the parameters, each from a share of its span.
fn values(shares: &[f64]) -> Vec<f64> {
    ElementwiseForm::PARAMETERS
        .iter()
        .zip(shares)
        .map(|(parameter, share)| parameter.low * (parameter.high / parameter.low).powf(*share))
        .collect()
}

proptest! {
    #[test]
    fn times_and_features_are_finite_and_times_positive(
        shares in prop::collection::vec(0.0..=1.0_f64, ElementwiseForm::PARAMETERS.len()),
        rows in 0.0..40.0_f64, columns in 0.0..30.0_f64, element_bytes in 0.25..64.0_f64,
    ) {
        let shape = pass(rows.exp2().floor(), columns.exp2().floor(), element_bytes);
        let values = values(&shares);
        let time = ElementwiseForm::time_us(&values, &FACTS, &shape);
        prop_assert!(time.is_finite() && time > 0.0, "{time}");
        let features = ElementwiseForm::features(&values, &FACTS, &shape, time);
        prop_assert!(features.iter().all(|feature| feature.is_finite()), "{features:?}");
    }

    #[test]
    fn more_rows_or_bytes_never_take_less(
        shares in prop::collection::vec(0.0..=1.0_f64, ElementwiseForm::PARAMETERS.len()),
        rows in 0.0..20.0_f64, columns in 0.0..16.0_f64, more in 1.0..8.0_f64,
    ) {
        let (rows, columns) = (rows.exp2().floor(), columns.exp2().floor());
        let values = values(&shares);
        let time = |shape| ElementwiseForm::time_us(&values, &FACTS, &shape);
        let few = time(pass(rows, columns, 4.0));
        prop_assert!(time(pass((rows * more).floor(), columns, 4.0)) >= few * (1.0 - 1e-9));
        prop_assert!(time(pass(rows, columns, 4.0 * more)) >= few * (1.0 - 1e-9));
    }
}
