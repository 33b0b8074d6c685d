//! Recorded traces to measured tables: kernels with the shapes of their operators, collectives
//! with their sizes, costs of launching, and what communication does to kernels beside it.
//!
//! A row is one shape: the median over all times that an operator with this shape was called, each
//! the sum of its kernels. What ran beside communication is no measurement of the kernel alone and
//! is left out of rows; interference is learned from it instead. The time of a collective is from
//! the arrival of its last member to its end, so it is a row only where all members were recorded.

mod collectives;
mod host;
mod interference;
mod kernels;
mod operators;
mod shapes;
#[cfg(test)]
mod tests;

use serde::Serialize;
use std::collections::BTreeMap;

use crate::timeline::Span;
use crate::trace::Recording;
use crate::work::Class;

pub use host::LaunchCosts;
pub use interference::{Interference, Interferences, interference, is_bound_by_memory};
pub use shapes::ShapedKernels;

/// What the trace does not say and a person may.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// Name of the GPU, where the trace says none or another should be written.
    pub gpu: Option<String>,
    /// Whether attention is causal: shapes do not say it, so its rows need this.
    pub causal: Option<bool>,
    /// Ranks on a node; without it, jobs of up to 8 ranks are taken to be on one.
    pub gpus_per_node: Option<u64>,
}

/// What was learned from traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extract {
    /// Tables that have rows.
    pub sheets: Vec<Sheet>,
    /// Kernels of compute and communication in the traces.
    pub kernel_count: u64,
    /// Of these, how many are behind rows.
    pub used_count: u64,
    /// How many are not, by the reason.
    pub left_out: BTreeMap<String, u64>,
    /// What launching costs the host; `None` where no launches were recorded.
    pub launches: Option<LaunchCosts>,
    /// How much slower kernels are beside communication, by class; only where kernels of one name
    /// and shape ran with it and without it.
    pub interference: Vec<Interference>,
    /// Kernels beside communication that could not be compared, by the reason.
    pub interference_left_out: BTreeMap<String, u64>,
}

/// A measured table, as `stepcast calibrate` reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sheet {
    /// Name of its file.
    pub file: &'static str,
    /// Names of columns.
    pub columns: &'static [&'static str],
    /// Rows, in order.
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// As CSV.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Writing to memory does not fail, and all rows have the length of the header.
        let mut write = || -> csv::Result<()> {
            writer.write_record(self.columns)?;
            self.rows.iter().try_for_each(|row| writer.write_record(row))
        };
        write().expect("rows are as long as their header");
        let bytes = writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What became of kernels.
#[derive(Debug, Default)]
struct Ledger {
    used: u64,
    left_out: BTreeMap<String, u64>,
}

impl Ledger {
    fn leave(&mut self, why: &str, count: usize) {
        *self.left_out.entry(why.to_owned()).or_default() += count as u64;
    }
}

/// Learns from recordings, joined where they are ranks of one job.
pub fn extract(recording: &Recording, options: &ExtractOptions) -> Extract {
    let beside = interference::beside(recording);
    let operators = operators::Operators::of(recording);
    let mut ledger = Ledger::default();
    let mut sheets = kernels::sheets(recording, &operators, &beside, options, &mut ledger);
    sheets.push(collectives::sheet(recording, options, &mut ledger));
    sheets.retain(|sheet| !sheet.rows.is_empty());
    let kernels = recording.timeline.spans.iter().filter(|span| is_kernel(span));
    let interference = interference::factors(recording, &operators, &beside);
    Extract {
        sheets,
        kernel_count: kernels.count() as u64,
        used_count: ledger.used,
        left_out: ledger.left_out,
        launches: host::launch_costs(recording),
        interference: interference.factors,
        interference_left_out: interference.left_out,
    }
}

/// Whether a span is a kernel: device work other than copies and fills.
fn is_kernel(span: &Span) -> bool {
    !span.lane.is_host() && span.class != Class::Copy
}

/// Length of a span in microseconds.
fn time_us(span: &Span) -> f64 {
    span.end.since(span.start).value() * 1e6
}

/// Name of the GPU of a process: what a person says, else what the trace says.
fn gpu(recording: &Recording, process: u32, options: &ExtractOptions) -> Option<String> {
    let told = recording.sources.get(process as usize)?.device_name.as_deref();
    options.gpu.as_deref().or(told).map(str::to_owned)
}

/// A quantile of numbers, between neighbours; `None` of none.
fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let at = share * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// A time for a table.
fn written_us(time_us: f64) -> String {
    format!("{time_us:.3}")
}
