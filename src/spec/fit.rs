//! What calibration learned: machine factors now, kernel and collective fits later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Learned corrections of a cluster. Without a fit every factor is 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Name for people.
    pub name: String,
    /// Measured time over predicted time of compute kernels on this machine.
    #[serde(default = "one")]
    pub compute_factor: f64,
    /// Measured time over predicted time of communication on this machine.
    #[serde(default = "one")]
    pub network_factor: f64,
    /// Where each number comes from, by key.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

fn one() -> f64 {
    1.0
}

impl Default for Fit {
    /// Nothing learned.
    fn default() -> Self {
        Self {
            name: "none".to_owned(),
            compute_factor: 1.0,
            network_factor: 1.0,
            sources: BTreeMap::new(),
        }
    }
}
