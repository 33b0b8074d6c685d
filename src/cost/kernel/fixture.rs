//! A GPU and a stack for tests: an A100 and round fractions.

use crate::spec::{Gpu, Stack};

/// An A100 with 80 GB.
pub(in crate::cost) fn a100() -> Gpu {
    toml::from_str(include_str!("fixture/gpu.toml")).expect("the fixture is a GPU")
}

/// A stack whose norms reach 0.34, elementwise kernels 0.84, softmax 0.5, the optimizer 0.8.
pub(in crate::cost) fn stack() -> Stack {
    toml::from_str(include_str!("fixture/stack.toml")).expect("the fixture is a stack")
}
