//! Forms whose parameters were learned from measurements, with a correction of what they leave.

mod form;

pub use form::{FEATURES_MAX, Facts, Features, Form, Parameter};
