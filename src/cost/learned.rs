//! Forms whose parameters were learned from measurements, with a correction of what they leave.

mod all_to_all;
mod collective;
mod collectives;
mod form;
mod gemm;
mod kernels;
mod model;
mod transfer;
mod trees;

pub use all_to_all::{AllToAllForm, AllToAllShape};
pub use collective::{CollectiveForm, CollectiveShape, Fabric};
pub use collectives::LearnedCollectives;
pub use form::{FEATURES_MAX, Facts, Features, Form, Parameter};
pub use gemm::{GemmForm, GemmShape};
pub use kernels::LearnedKernels;
pub use model::{Answer, Learned};
pub use transfer::{Estimator, MeasuredOn};
pub use trees::{DEPTH_MAX, LEAF_UNIT, Split, Tree, Trees};
