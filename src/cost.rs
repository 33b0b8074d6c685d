//! What work costs: seconds for kernels, with who answered.

mod book;
mod collective;
mod kernel;

pub use book::{Evidence, KernelBook, KernelPrice};
pub use collective::{CollectiveBook, CollectivePrice};
pub use kernel::{KernelModel, Prediction, Roofline};
