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
    AllToAllForm, AllToAllShape, Answer, CollectiveForm, CollectiveShape, DEPTH_MAX, Estimator,
    FEATURES_MAX, Fabric, Facts, Features, Form, GemmForm, GemmShape, LEAF_UNIT, Learned,
    LearnedCollectives, LearnedKernels, MeasuredOn, Parameter, Split, Tree, Trees,
};
