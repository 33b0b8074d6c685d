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
    AllToAllForm, AllToAllShape, Answer, AttentionBackward, AttentionBackwardShape,
    AttentionForward, AttentionKernels, AttentionShape, CollectiveForm, CollectiveShape, DEPTH_MAX,
    ElementwiseForm, ElementwiseShape, Estimator, ExchangeAnswer, ExpertLayer, ExpertLoad,
    FEATURES_MAX, Fabric, Facts, Features, Form, GemmForm, GemmShape, GroupedGemmForm,
    GroupedShape, GroupedWork, LEAF_UNIT, LOAD_CLASSES, Learned, LearnedCollectives,
    LearnedExchanges, LearnedKernels, LearnedPasses, LearnedProducts, MeasuredOn, Parameter, Split,
    Tree, Trees, attention_case,
};
