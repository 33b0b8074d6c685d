//! One learned cost model as a fit file holds it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of a form for one kind of work on one GPU, a correction of what the form leaves, and
/// what it all rests on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnedModel {
    /// Kind of cost: the name of the form, as `stepcast calibrate --kind` takes it.
    pub kind: String,
    /// Which of that kind: number format, kernel family, operation.
    pub case: String,
    /// Version of the form that the parameters belong to.
    pub version: u32,
    /// Rows of the tables that it was learned from.
    pub row_count: u64,
    /// The tables.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Who measured the rows: names in the tables, public sources and licences.
    pub sources: Vec<String>,
    /// Parameters of the form, by name.
    pub parameters: BTreeMap<String, f64>,
    /// Least and greatest value among the rows of each feature that is a size, by name.
    #[serde(default)]
    pub domain: BTreeMap<String, [f64; 2]>,
    /// Expected relative error (one sigma) of a prediction within the domain: that of rows that
    /// were not fitted.
    pub relative_error: f64,
    /// Residuals on the fitted part and on the inner held-out part.
    #[serde(default)]
    pub residuals: BTreeMap<String, Residuals>,
    /// Measured times in us by shape, where they are kept: they answer before the form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measured_us: BTreeMap<String, f64>,
    /// What corrects the form; in files behind all that people read.
    #[serde(default, skip_serializing_if = "LearnedTrees::is_empty")]
    pub trees: LearnedTrees,
}

/// Oblivious boosted trees, one line each.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnedTrees {
    /// Correction of the logarithm of the form's time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correction: Vec<String>,
    /// Logarithm of the expected error over `relative_error`, in the neighbourhood of a shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error: Vec<String>,
}

impl LearnedTrees {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.correction.is_empty() && self.error.is_empty()
    }
}

/// Errors of predictions against measured rows: fractions, not percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Residuals {
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
}
