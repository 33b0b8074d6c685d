//! Errors of predictions against measurements.

use serde::Serialize;

/// Relative errors of predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Errors {
    /// Mean of the absolute errors.
    pub mape: f64,
    /// Median of them.
    pub median_ape: f64,
    /// Their 95th percentile.
    pub p95_ape: f64,
    /// Mean of the signed errors; below 0 is too fast, or too little.
    pub bias: f64,
}

impl Errors {
    /// Of pairs of measured and predicted values; none of no pairs.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let signed: Vec<f64> =
            pairs.iter().map(|(measured, predicted)| predicted / measured - 1.0).collect();
        let mut absolute: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        absolute.sort_by(f64::total_cmp);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Some(Self {
            mape: mean(&absolute),
            median_ape: quantile(&absolute, 0.5),
            p95_ape: quantile(&absolute, 0.95),
            bias: mean(&signed),
        })
    }
}

/// Quantile of sorted values, between neighbours by their distance (type 7 of Hyndman and Fan
/// 1996). Panics without values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "quantile of nothing");
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_to_what_was_measured_and_keep_their_sign_in_the_bias() {
        let errors = Errors::of(&[(2.0, 1.0), (1.0, 1.1), (4.0, 4.0)]).expect("three pairs");
        assert!((errors.mape - 0.2).abs() < 1e-12);
        assert!((errors.median_ape - 0.1).abs() < 1e-12);
        assert!((errors.p95_ape - 0.46).abs() < 1e-12);
        assert!((errors.bias + 0.4 / 3.0).abs() < 1e-12);
        assert_eq!(Errors::of(&[]), None);
    }
}
