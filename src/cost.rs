//! What work costs: seconds for kernels, with who answered.

mod book;
mod kernel;

pub use book::{Evidence, KernelBook, KernelPrice};
pub use kernel::{KernelModel, Prediction, Roofline};
