//! What takes time: the one vocabulary that graph, program, cost, trace and calibration speak.

mod collective;
mod dtype;
mod kernel;

pub use collective::{Axis, Collective, CollectiveKind, Dispatcher, ExchangePhase, TokenExchange};
pub use dtype::DType;
pub use kernel::{AttentionFamily, GemmLayout, Kernel, MemoryKernel, Pass};

/// What a span of time was spent on, as reports group it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Matrix products.
    Gemm,
    /// The attention core, fused or not.
    Attention,
    /// Layer and RMS norms.
    Norm,
    /// Activations, residuals, rotary, dropout, biases.
    Elementwise,
    /// Embedding look-up and its gradient.
    Embedding,
    /// Softmax and cross-entropy over the vocabulary.
    Loss,
    /// Casts and quantisation.
    Cast,
    /// Optimizer step, gradient norm and clipping.
    Optimizer,
    /// Communication along an axis of the plan.
    Communication(Axis),
    /// Work of the host that the device waits for.
    Host,
    /// Copies and fills by the copy engines or their calls, as traces list them.
    Copy,
    /// Kernels of a trace that nobody knows the purpose of.
    OtherKernel,
}

impl Class {
    /// All classes of compute, in the order in which reports list them.
    pub const COMPUTE: [Self; 8] = [
        Self::Gemm,
        Self::Attention,
        Self::Norm,
        Self::Elementwise,
        Self::Embedding,
        Self::Loss,
        Self::Cast,
        Self::Optimizer,
    ];

    /// The class of device work that has this name.
    pub fn named(name: &str) -> Option<Self> {
        let axes = Axis::ALL.into_iter().chain([Axis::Unstated]).map(Self::Communication);
        let known = Self::COMPUTE.into_iter().chain([Self::Copy, Self::OtherKernel]).chain(axes);
        known.into_iter().find(|class| class.name() == name)
    }

    /// Name for reports and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Attention => "attention",
            Self::Norm => "norm",
            Self::Elementwise => "elementwise",
            Self::Embedding => "embedding",
            Self::Loss => "loss",
            Self::Cast => "cast",
            Self::Optimizer => "optimizer",
            Self::Communication(axis) => axis.name(),
            Self::Host => "host",
            Self::Copy => "copy",
            Self::OtherKernel => "other_kernel",
        }
    }
}
