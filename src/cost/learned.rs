//! Forms whose parameters were learned from measurements, with a correction of what they leave.

mod attention;
mod attention_backward;
mod blocks;
mod form;

pub use attention::{AttentionForward, AttentionShape};
pub use attention_backward::{AttentionBackward, AttentionBackwardShape};
pub use form::{FEATURES_MAX, Facts, Features, Form, Parameter};
