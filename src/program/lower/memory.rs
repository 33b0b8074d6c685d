//! What instructions and roles do to memory.

use crate::plan::{Layout, StageState};
use crate::program::{MemoryEffect, StaticMemory};
use crate::spec::Scenario;
use crate::units::Bytes;

/// Takes `kept` until backward and `transient` until the end of the instruction.
pub(super) fn forward_effect(kept: Bytes, transient: Bytes) -> MemoryEffect {
    MemoryEffect {
        activations_taken: kept + transient,
        activations_freed: transient,
        ..MemoryEffect::default()
    }
}

/// Takes `transient` until the end of the instruction, which also frees what forward `kept`.
pub(super) fn backward_effect(kept: Bytes, transient: Bytes) -> MemoryEffect {
    MemoryEffect {
        activations_taken: transient,
        activations_freed: kept + transient,
        ..MemoryEffect::default()
    }
}

/// What a rank of a stage holds throughout.
pub(super) fn static_memory(
    scenario: &Scenario,
    layout: &Layout,
    state: &StageState,
) -> StaticMemory {
    let size = layout.mesh.size;
    // NCCL keeps buffers for each communicator that spans more than one rank.
    let communicators = [size.tp, size.cp, size.dp * size.cp, size.pp, size.pp]
        .iter()
        .filter(|&&ranks| ranks > 1)
        .count() as f64;
    StaticMemory {
        weights: state.weights,
        gradients: state.gradients,
        optimizer: state.optimizer,
        buffers: scenario.stack.communicator_memory * communicators
            + scenario.stack.workspace_memory,
        overhead: scenario.stack.context_memory,
    }
}
