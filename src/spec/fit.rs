//! What calibration learned: machine factors of a cluster, cost models of a GPU.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Gpu;
use super::learned::LearnedModel;

/// What was learned about a machine. Without a fit every factor is 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Name for people.
    pub name: String,
    /// The GPU whose kernels were measured, as `hardware/gpus` names it; absent in a fit that has
    /// machine factors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Measured time over predicted time of compute kernels on this machine.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub compute_factor: f64,
    /// Measured time over predicted time of communication on this machine.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub network_factor: f64,
    /// Expected relative error, one sigma, that all kernels of the machine have in common; 0.08
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_error: Option<f64>,
    /// Where each number comes from, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// Cost models learned from measured tables.
    #[serde(default, rename = "model", skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<LearnedModel>,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Fit {
    /// Machine error where nothing was measured on the machine: the same GPU in another cluster is
    /// 8-12 % off (vidur@7d47513 and SimuMax@4dcaae5 against aiconfigurator@095f58a).
    pub const MACHINE_ERROR: f64 = 0.08;

    /// The text of its file.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

impl Default for Fit {
    /// Nothing learned.
    fn default() -> Self {
        Self {
            name: "none".to_owned(),
            gpu: None,
            compute_factor: 1.0,
            network_factor: 1.0,
            machine_error: None,
            sources: BTreeMap::new(),
            models: Vec::new(),
        }
    }
}

/// A fit and the GPU that it was measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredFit {
    /// What was learned.
    pub fit: Arc<Fit>,
    /// Where.
    pub gpu: Gpu,
}
