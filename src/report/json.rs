//! JSON for programs. Keys are a contract: more may come, none goes or changes its meaning.
//!
//! One object:
//!
//! - `schema_version`: 1, until a key changes its meaning.
//! - `scenario`: the question with every name and base resolved, keys as in the TOML.
//! - `step_time_s`: seconds.
//! - `tokens_per_s_per_gpu`, `model_tflops_per_gpu`, `peak_tflops_per_gpu`, `mfu`, `hfu`: rates per
//!   GPU that takes part; `mfu` and `hfu` are fractions.
//! - `step_time_interval_s`: `[low, high]`, which hold the step time with 80 %: what all kernels of
//!   a machine have in common, and what each shape has for itself.
//! - `critical_stage`: the pipeline stage with the most busy time, which the next three describe.
//! - `time`: `compute_s`, `exposed_communication_s`, `bubble_s`, `host_bound_s`, `optimizer_s`,
//!   `other_s`; they sum to `step_time_s`.
//! - `compute_by_kind`: seconds by kind of kernel; they sum to `time.compute_s`.
//! - `communication`: for each of `tp`, `dp`, `pp`, `cp`, `ep` of one rank the `total_s` in which
//!   data moves, the `exposed_s` that compute waits for it, and the `bytes` as nccl-tests counts
//!   them.
//! - `memory`: `capacity_bytes`, `fits`, and of the fullest stage `peak_allocated_bytes` (tensors),
//!   `peak_bytes` (and what lies outside of the caching allocator), `peak_cached_bytes` (its
//!   segments), `peak_reserved_bytes` (both); `stages`, each with `stage`, the same four and what
//!   makes up the peak: `weights_bytes`, `gradients_bytes`, `optimizer_bytes`, `activations_bytes`,
//!   `buffers_bytes`, `overhead_bytes`.
//! - `evidence`: `measured_fraction`, `fitted_fraction`, `scaled_fraction` (fits of other GPUs),
//!   `roofline_fraction` of the busy time.
//! - `convention`: what `mfu` and `hfu` count, in words.
//! - `warnings`: sentences.

use serde::Serialize;
use std::io::{self, Write};

use super::{CONVENTION, Report, Style, Subject};
use crate::analysis::Summary;
use crate::spec::Scenario;

/// Version of the schema.
pub const SCHEMA_VERSION: u32 = 1;

/// JSON for programs.
#[derive(Clone, Copy, Debug)]
pub struct Json;

/// A document with `schema_version` in front of its own keys.
#[derive(Serialize)]
struct Versioned<'a, T: Serialize> {
    schema_version: u32,
    #[serde(flatten)]
    document: &'a T,
}

/// Writes a document with `schema_version` in front of its own keys.
///
/// # Errors
///
/// When the writer fails, or a number has no JSON form.
pub fn write_versioned(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let versioned = Versioned { schema_version: SCHEMA_VERSION, document };
    serde_json::to_writer_pretty(&mut *out, &versioned)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    scenario: &'a Scenario,
    #[serde(flatten)]
    summary: &'a Summary,
    convention: &'static str,
}

/// The document as a value, for callers that embed it.
///
/// # Errors
///
/// When a number of the scenario has no JSON form.
pub fn document(scenario: &Scenario, summary: &Summary) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(of(scenario, summary))
}

fn of<'a>(scenario: &'a Scenario, summary: &'a Summary) -> Document<'a> {
    Document { schema_version: SCHEMA_VERSION, scenario, summary, convention: CONVENTION }
}

impl Report for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn write(&self, subject: &Subject, _: Style, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &of(subject.scenario, subject.summary))?;
        writeln!(out)
    }
}
