//! Errors of predictions against measurements.

use serde::Serialize;

use crate::analysis::{SIGMAS_OF_80_PERCENT, quantile};
use crate::spec::Residuals;

/// A measured row and what was predicted for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The table.
    pub table: String,
    /// Line in it.
    pub line: u64,
    /// The GPU, as the table calls it.
    pub gpu: String,
    /// Kind of cost.
    pub kind: &'static str,
    /// Number format, as the table calls it.
    pub dtype: String,
    /// What was run.
    pub shape: String,
    /// Measured.
    pub measured_us: f64,
    /// Predicted.
    pub predicted_us: f64,
    /// Expected relative error of the prediction, one sigma.
    pub relative_error: f64,
    /// Who answered: a model of this GPU, one scaled from another GPU, or the roofline.
    pub answered_by: String,
    /// Whether training runs shapes of this size.
    #[serde(skip)]
    pub is_training: bool,
}

impl Checked {
    /// Predicted over measured time, less 1.
    pub fn deviation(&self) -> f64 {
        self.predicted_us / self.measured_us - 1.0
    }

    /// Logarithm of predicted over measured time.
    pub fn log_error(&self) -> f64 {
        (self.predicted_us / self.measured_us).ln()
    }
}

/// Errors of a group of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The GPU; `all` in the overall group.
    pub gpu: String,
    /// Kind of cost; `all` in the overall group.
    pub kind: String,
    /// Number format; `all` in the overall group.
    pub dtype: String,
    /// Rows.
    pub n: u64,
    /// Mean of the absolute relative errors.
    pub mape: f64,
    /// Median of them.
    pub median_ape: f64,
    /// Their 95th percentile.
    pub p95_ape: f64,
    /// Sum of predicted over sum of measured times, less 1.
    pub bias_time_weighted: f64,
    /// Measured over predicted time as one factor for the group (the median of the rows').
    pub one_factor: f64,
    /// Mean of the absolute relative errors after that factor.
    pub mape_after_one_factor: f64,
    /// Share of the rows whose 80 % interval holds the measured time.
    pub within_interval: f64,
}

/// Errors of pairs of measured and predicted times.
pub fn residuals(pairs: &[(f64, f64)]) -> Residuals {
    let mut errors: Vec<f64> =
        pairs.iter().map(|(measured, predicted)| (predicted / measured - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let (measured, predicted) =
        pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    if errors.is_empty() {
        return Residuals::default();
    }
    Residuals {
        n: errors.len() as u64,
        mape: errors.iter().sum::<f64>() / errors.len() as f64,
        median_ape: quantile(&errors, 0.5),
        p95_ape: quantile(&errors, 0.95),
        bias_time_weighted: predicted / measured - 1.0,
    }
}

/// Errors by GPU, kind and number format, in this order; a last group of all rows where there are
/// several.
pub fn groups(rows: &[Checked]) -> Vec<Group> {
    let mut by_name: std::collections::BTreeMap<(&str, &str, &str), Vec<&Checked>> =
        std::collections::BTreeMap::new();
    for row in rows {
        by_name.entry((&row.gpu, row.kind, &row.dtype)).or_default().push(row);
    }
    by_name.iter().map(|((gpu, kind, dtype), rows)| group(gpu, kind, dtype, rows)).collect()
}

/// Errors of all rows as one group.
pub fn overall(rows: &[Checked]) -> Group {
    group("all", "all", "all", &rows.iter().collect::<Vec<_>>())
}

fn group(gpu: &str, kind: &str, dtype: &str, rows: &[&Checked]) -> Group {
    let pairs: Vec<(f64, f64)> =
        rows.iter().map(|row| (row.measured_us, row.predicted_us)).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.0 / pair.1).collect();
    ratios.sort_by(f64::total_cmp);
    let one_factor = if ratios.is_empty() { 1.0 } else { quantile(&ratios, 0.5) };
    let scaled: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.0, pair.1 * one_factor)).collect();
    let within = rows
        .iter()
        .filter(|row| {
            (row.measured_us / row.predicted_us).ln().abs()
                <= SIGMAS_OF_80_PERCENT * row.relative_error
        })
        .count();
    let Residuals { n, mape, median_ape, p95_ape, bias_time_weighted } = residuals(&pairs);
    Group {
        gpu: gpu.to_owned(),
        kind: kind.to_owned(),
        dtype: dtype.to_owned(),
        n,
        mape,
        median_ape,
        p95_ape,
        bias_time_weighted,
        one_factor,
        mape_after_one_factor: residuals(&scaled).mape,
        within_interval: within as f64 / rows.len().max(1) as f64,
    }
}
