//! Forms whose parameters were learned from measurements, with a correction of what they leave.

mod all_to_all;
mod attention;
mod attention_backward;
mod attention_kernels;
mod blocks;
mod collective;
mod collectives;
mod elementwise;
mod exchanges;
mod expert_load;
mod form;
mod gemm;
mod grouped_gemm;
mod kernels;
mod model;
mod passes;
mod transfer;
mod trees;

pub use all_to_all::{AllToAllForm, AllToAllShape};
pub use attention::{AttentionForward, AttentionShape, attention_case};
pub use attention_backward::{AttentionBackward, AttentionBackwardShape};
pub use attention_kernels::AttentionKernels;
pub use collective::{CollectiveForm, CollectiveShape, Fabric};
pub use collectives::LearnedCollectives;
pub use elementwise::{ElementwiseForm, ElementwiseShape};
pub use exchanges::{ExchangeAnswer, LearnedExchanges};
pub use expert_load::{ExpertLoad, LOAD_CLASSES};
pub use form::{FEATURES_MAX, Facts, Features, Form, Parameter};
pub use gemm::{GemmForm, GemmShape};
pub use grouped_gemm::{ExpertLayer, GroupedGemmForm, GroupedShape, GroupedWork};
pub use kernels::LearnedKernels;
pub use model::{Answer, Learned};
pub use passes::{LearnedPasses, LearnedProducts};
pub use transfer::{Estimator, MeasuredOn};
pub use trees::{DEPTH_MAX, LEAF_UNIT, Split, Tree, Trees};
