//! What the end of a step does to each parameter.

use super::Traffic;
use crate::spec::{Optimizer, Stack, Training};

/// Bytes a parameter that the end of a step moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerTraffic {
    /// Norm of the gradients; clipping scales inside the update or in a pass of its own.
    pub norm: Traffic,
    /// The update of parameters and moments.
    pub update: Traffic,
    /// Clearing of the gradients.
    pub clear: Traffic,
}

/// Traffic of the end of a step.
///
/// Adam reads gradient, main parameter and two moments, and writes all but the gradient, and the
/// parameter in compute precision.
pub fn optimizer_traffic(stack: &Stack, training: &Training) -> OptimizerTraffic {
    let compute = training.precision.activation().bytes();
    let gradient = stack.gradient_dtype.bytes();
    let moment_count = match training.optimizer {
        Optimizer::Adam => 2.0,
        Optimizer::Sgd => 1.0,
    };
    let moments = moment_count * stack.moment_dtype.bytes();
    let main = stack.main_parameter_dtype.map_or(0.0, |dtype| dtype.bytes());
    let stored = stack.parameter_dtype.map_or(compute, |dtype| dtype.bytes());
    // Without a main copy the stored parameter is read and written itself.
    let parameter_read = if main > 0.0 { main } else { stored };
    let state = Traffic::one(gradient + parameter_read + moments, main + stored + moments);
    let update = if stack.fused_optimizer {
        state
    } else {
        // A chain of elementwise kernels: moments, denominators, update, each a pass.
        Traffic::chain(state.read * 2.0, state.write * 1.7, 12)
    };
    let norm = if training.gradient_clipping {
        let is_apart = stack.separate_clipping || !stack.fused_optimizer;
        let clip = if is_apart { gradient } else { 0.0 };
        Traffic::one(gradient + clip, clip)
    } else {
        Traffic::NONE
    };
    OptimizerTraffic { norm, update, clear: Traffic::one(0.0, gradient) }
}
