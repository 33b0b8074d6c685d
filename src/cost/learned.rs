//! Forms whose parameters were learned from measurements, with a correction of what they leave.

mod collective;
mod form;
mod gemm;
mod model;
mod trees;

pub use collective::{CollectiveForm, CollectiveShape, Fabric};
pub use form::{FEATURES_MAX, Facts, Features, Form, Parameter};
pub use gemm::{GemmForm, GemmShape};
pub use model::{Answer, Learned};
pub use trees::{DEPTH_MAX, LEAF_UNIT, Split, Tree, Trees};

/// Expected relative error, one sigma, of a model scaled from another GPU at some distance
/// ([`crate::spec::Gpu::distance`]).
pub fn extrapolation_error(distance: f64) -> f64 {
    0.05 + 0.08 * distance.max(0.0)
}
