//! What an analysis must be told beside the timeline.

use serde::Serialize;

use super::StepErrors;
use crate::units::{Bytes, Flops, FlopsPerSecond, Seconds};

/// Facts of a step that no timeline holds.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFacts {
    /// Tokens trained on in the step, over all replicas.
    pub tokens: f64,
    /// GPUs that take part.
    pub gpu_count: u64,
    /// Arithmetic the model needs: forward and backward without recomputation, over all GPUs.
    pub model_flops: Flops,
    /// Arithmetic the GPUs do: with recomputation, over all GPUs.
    pub hardware_flops: Flops,
    /// Dense peak of one GPU in the format of the linear layers.
    pub peak: FlopsPerSecond,
    /// Length of the step: from one step's start to the next one's.
    pub step_time: Seconds,
    /// Memory of one GPU.
    pub capacity: Bytes,
    /// Memory by stage.
    pub memory: Vec<StageMemory>,
    /// What the compute time rests on.
    pub evidence: Evidence,
    /// How far off that may be.
    pub errors: StepErrors,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Peak memory of the ranks of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageMemory {
    /// Pipeline stage.
    pub stage: u64,
    /// All of it at the peak.
    #[serde(rename = "peak_bytes", serialize_with = "whole")]
    pub peak: Bytes,
    /// What is taken from the GPU by then: `peak_cached` and what lies outside of the allocator.
    #[serde(rename = "peak_reserved_bytes", serialize_with = "whole")]
    pub peak_reserved: Bytes,
    /// Tensors at the peak (PyTorch's `max_memory_allocated`).
    #[serde(rename = "peak_allocated_bytes", serialize_with = "whole")]
    pub peak_allocated: Bytes,
    /// Segments that the caching allocator holds (PyTorch's `max_memory_reserved`).
    #[serde(rename = "peak_cached_bytes", serialize_with = "whole")]
    pub peak_cached: Bytes,
    /// Parameters in compute precision, quantised copies included.
    #[serde(rename = "weights_bytes", serialize_with = "whole")]
    pub weights: Bytes,
    /// Gradients.
    #[serde(rename = "gradients_bytes", serialize_with = "whole")]
    pub gradients: Bytes,
    /// Main parameters and moments.
    #[serde(rename = "optimizer_bytes", serialize_with = "whole")]
    pub optimizer: Bytes,
    /// Activations at the peak.
    #[serde(rename = "activations_bytes", serialize_with = "whole")]
    pub activations: Bytes,
    /// Gathered parameters, gradients beside the buffer and workspaces at the peak.
    #[serde(rename = "buffers_bytes", serialize_with = "whole")]
    pub buffers: Bytes,
    /// CUDA context, framework and communicators: outside of the caching allocator.
    #[serde(rename = "overhead_bytes", serialize_with = "whole")]
    pub overhead: Bytes,
}

/// Which share of the busy time was priced by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// By a measured table.
    pub measured_fraction: f64,
    /// By a fit to measurements.
    pub fitted_fraction: f64,
    /// By fits to measurements of other GPUs, scaled by data sheets.
    pub scaled_fraction: f64,
    /// By a roofline or a closed form with data-sheet rates.
    pub roofline_fraction: f64,
}

/// Bytes as a whole number, since nobody reads fractions of a byte.
fn whole<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(bytes.value().round() as u64)
}
