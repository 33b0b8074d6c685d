//! One compute and one network factor of a machine, from how its kernels and collectives compare
//! with the fits.

use serde::Serialize;
use std::collections::BTreeMap;

use super::accuracy::Checked;

/// Least error in common that is claimed after factors: two versions of one library on one machine
/// differ by 1.7-5.9 % at the median (aiconfigurator@095f58a).
const LEAST_ERROR: f64 = 0.03;

/// Kinds of cost that the network factor is of; all others are compute.
const NETWORK_KINDS: [&str; 2] = ["collective", "all-to-all"];

/// What one machine's times are of those predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MachineFactors {
    /// Measured over predicted time of kernels; 1 without rows.
    pub compute_factor: f64,
    /// Rows of kernels.
    pub compute_rows: u64,
    /// Measured over predicted time of communication; 1 without rows.
    pub network_factor: f64,
    /// Rows of collectives.
    pub network_rows: u64,
    /// Error, one sigma, that kernels still have in common: how far kinds and formats differ from
    /// the factor.
    pub machine_error: f64,
}

/// Factors from checked rows: medians of the logarithms, weighted by the square root of time, so
/// that neither the many short rows nor a few long ones decide alone.
pub fn machine_factors(rows: &[Checked]) -> MachineFactors {
    let (network, compute): (Vec<&Checked>, Vec<&Checked>) =
        rows.iter().partition(|row| NETWORK_KINDS.contains(&row.kind));
    let compute_log = weighted_median(&compute);
    let mut groups: BTreeMap<(&str, &str), Vec<&Checked>> = BTreeMap::new();
    for row in &compute {
        groups.entry((row.kind, &row.dtype)).or_default().push(row);
    }
    let apart: Vec<f64> =
        groups.values().map(|rows| (weighted_median(rows) - compute_log).powi(2)).collect();
    let spread = (apart.iter().sum::<f64>() / apart.len().max(1) as f64).sqrt();
    MachineFactors {
        compute_factor: rounded(compute_log.exp()),
        compute_rows: compute.len() as u64,
        network_factor: rounded(weighted_median(&network).exp()),
        network_rows: network.len() as u64,
        machine_error: rounded(spread.max(LEAST_ERROR)),
    }
}

/// Of measured over predicted, logarithm; 0 without rows.
fn weighted_median(rows: &[&Checked]) -> f64 {
    let mut logs: Vec<(f64, f64)> =
        rows.iter().map(|row| (-row.log_error(), row.measured_us.sqrt())).collect();
    logs.sort_by(|left, right| left.0.total_cmp(&right.0));
    let half = 0.5 * logs.iter().map(|row| row.1).sum::<f64>();
    let mut sum = 0.0;
    for (log, weight) in &logs {
        sum += weight;
        if sum >= half {
            return *log;
        }
    }
    logs.last().map_or(0.0, |row| row.0)
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &'static str, measured_us: f64, predicted_us: f64) -> Checked {
        Checked {
            table: "t.csv".to_owned(),
            line: 2,
            gpu: "g".to_owned(),
            kind,
            dtype: "bf16".to_owned(),
            shape: String::new(),
            measured_us,
            predicted_us,
            relative_error: 0.05,
            answered_by: "fit".to_owned(),
            is_training: true,
        }
    }

    #[test]
    fn a_machine_that_is_slower_by_a_factor_has_that_factor_whatever_one_row_says() {
        let mut rows: Vec<Checked> =
            (1..100).map(|i| row("gemm", 1.1 * f64::from(i), f64::from(i))).collect();
        rows.push(row("gemm", 5000.0, 1.0));
        rows.extend((1..50).map(|i| row("collective", 0.8 * f64::from(i), f64::from(i))));
        let factors = machine_factors(&rows);
        assert_eq!((factors.compute_factor, factors.network_factor), (1.1, 0.8));
        assert_eq!((factors.compute_rows, factors.network_rows), (100, 49));
        assert_eq!(factors.machine_error, 0.03);
    }

    #[test]
    fn kinds_that_differ_leave_an_error_in_common() {
        let mut rows: Vec<Checked> = (1..50).map(|_| row("gemm", 1.2, 1.0)).collect();
        rows.extend((1..60).map(|_| row("attention", 1.0, 1.0)));
        let factors = machine_factors(&rows);
        // One group at the factor, the other ln 1.2 = 0.182 off: 0.182 / sqrt 2.
        assert!((factors.machine_error - 0.1289).abs() < 1e-3, "{factors:?}");
    }

    #[test]
    fn without_rows_nothing_is_learned() {
        let factors = machine_factors(&[]);
        assert_eq!((factors.compute_factor, factors.network_factor), (1.0, 1.0));
    }
}
