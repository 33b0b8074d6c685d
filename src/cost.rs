//! What work costs: seconds for kernels and for collectives, and who says so.

mod book;
mod collective;
mod kernel;
mod learned;

pub use book::{Evidence, KernelBook, KernelPrice};
pub use collective::{
    ALGORITHMS, CollectiveAlgorithm, CollectiveCost, CollectivePrice, Fill, Flow, Loads, PROTOCOLS,
    Protocol, Round, Steps,
};
pub use kernel::{KernelModel, Prediction, Roofline};
pub use learned::{
    Answer, AttentionBackward, AttentionBackwardShape, AttentionForward, AttentionKernels,
    AttentionShape, DEPTH_MAX, ElementwiseForm, ElementwiseShape, Estimator, ExpertLayer,
    ExpertLoad, FEATURES_MAX, Facts, Features, Form, GemmForm, GemmShape, GroupedGemmForm,
    GroupedShape, GroupedWork, LEAF_UNIT, LOAD_CLASSES, Learned, LearnedKernels, LearnedPasses,
    LearnedProducts, MeasuredOn, Parameter, Split, Tree, Trees, attention_case,
};
