//! Passes over memory: elementwise operations, norms, softmax and casts.
//!
//! Form and typical values come from fits of 32,000 public timings on 19 GPUs (NeuSight@6945927,
//! vidur@7d47513, aiconfigurator@095f58a).

use super::form::{FEATURES_MAX, Facts, Features, Form, Parameter};

/// A pass over a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ElementwiseShape {
    /// Rows: what a norm or softmax is taken over one by one.
    pub rows: f64,
    /// Columns.
    pub columns: f64,
    /// Bytes read and written at least.
    pub bytes: f64,
}

/// The form.
#[derive(Clone, Copy, Debug)]
pub struct ElementwiseForm;

/// Places of parameters in `values`.
mod at {
    pub(super) const LAUNCH: usize = 0;
    pub(super) const FLOOR: usize = 1;
    pub(super) const BANDWIDTH: usize = 2;
    pub(super) const CACHE_GAIN: usize = 3;
    pub(super) const CACHE_SHARE: usize = 4;
    pub(super) const CACHE_STEEPNESS: usize = 5;
    pub(super) const ROW: usize = 6;
    pub(super) const COLUMN: usize = 7;
}

impl Form for ElementwiseForm {
    type Shape = ElementwiseShape;

    const KIND: &'static str = "elementwise";
    const VERSION: u32 = 1;

    const PARAMETERS: &'static [Parameter] = &[
        // Before the bytes, which adds up with them; and the least time of a kernel, which does
        // not.
        Parameter::new("launch_us", 5.0, 0.2, 80.0),
        Parameter::new("floor_us", 2.0, 0.2, 20.0),
        Parameter::new("bandwidth_fraction", 0.7, 0.02, 1.2),
        // Bandwidth of the last-level cache over that of memory, up to which share of the cache's
        // size, and how abruptly it ends.
        Parameter::new("cache_gain", 2.0, 1.0, 30.0),
        Parameter::new("cache_share", 0.7, 0.02, 4.0),
        Parameter::new("cache_steepness", 5.0, 0.5, 40.0),
        // A row on an SM, and each of its columns padded to a power of two.
        Parameter::new("row_us", 0.01, 0.0001, 20.0),
        Parameter::new("column_us", 1e-6, 1e-8, 0.1),
    ];

    const FEATURES: &'static [&'static str] = &[
        "log_columns",
        "log_rows",
        "log_bytes",
        "log_time",
        "power_share",
        "alignment",
        "wave_share",
        "vector_share",
        "block_share",
        "element_bytes",
        "log_cache",
    ];

    fn describe(shape: &ElementwiseShape) -> String {
        let ElementwiseShape { rows, columns, bytes } = shape;
        format!("{rows}x{columns} {bytes} bytes")
    }

    fn time_us(values: &[f64], facts: &Facts, shape: &ElementwiseShape) -> f64 {
        let fits = (values[at::CACHE_SHARE] * facts.cache_bytes / shape.bytes).ln();
        let cached = 1.0 / (1.0 + (-values[at::CACHE_STEEPNESS] * fits).exp());
        let memory = shape.bytes / (facts.bandwidth * values[at::BANDWIDTH])
            * (1.0 - cached + cached / values[at::CACHE_GAIN]);
        let row = values[at::ROW] + values[at::COLUMN] * padded(shape.columns);
        let rows = (shape.rows / facts.sm_count).ceil() * row;
        cubic_sum(values[at::LAUNCH] + cubic_sum(memory, rows), values[at::FLOOR])
    }

    fn features(_: &[f64], facts: &Facts, shape: &ElementwiseShape, time_us: f64) -> Features {
        let ElementwiseShape { rows, columns, bytes } = *shape;
        // Blocks of 128 threads: 16 on an SM.
        let waves = rows / (16.0 * facts.sm_count);
        let mut features = [0.0; FEATURES_MAX];
        let list = [
            columns.log2(),
            rows.log2(),
            bytes.log2(),
            time_us.log2(),
            columns / padded(columns),
            f64::from((columns as u64).trailing_zeros().min(8)),
            waves / waves.ceil(),
            columns / ((columns / 512.0).ceil() * 512.0),
            columns / ((columns / 1024.0).ceil() * 1024.0),
            bytes / (rows * columns),
            (bytes / facts.cache_bytes).log2(),
        ];
        for (feature, value) in features.iter_mut().zip(list) {
            *feature = value as f32;
        }
        features
    }
}

/// The next power of two: kernels that keep a row in the registers of a warp or block are built for
/// those.
fn padded(columns: f64) -> f64 {
    columns.log2().ceil().exp2()
}

/// `(a^3 + b^3)^(1/3)`: the larger, with some of the smaller where they are alike.
fn cubic_sum(a: f64, b: f64) -> f64 {
    let (a3, b3) = (a * a * a, b * b * b);
    (a3 + b3).cbrt()
}

#[cfg(test)]
mod tests;
