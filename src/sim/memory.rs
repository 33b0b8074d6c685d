//! Memory over time: changes are noted as they happen and summed up at the end.

use crate::program::StaticMemory;
use crate::timeline::MemorySample;
use crate::units::{Bytes, Instant};

/// Memory of a rank when it held most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryPeak {
    /// Activations then.
    pub activations: Bytes,
    /// Gathered parameters and whole gradients then.
    pub buffers: Bytes,
    /// Activations at the end of the step; zero when nothing leaks.
    pub activations_left: Bytes,
    /// Buffers at the end of the step.
    pub buffers_left: Bytes,
}

/// Changes of a rank's memory.
#[derive(Debug, Default)]
pub(super) struct MemoryLog {
    changes: Vec<(Instant, Bytes, Bytes)>,
}

impl MemoryLog {
    pub(super) fn change(&mut self, at: Instant, activations: Bytes, buffers: Bytes) {
        if activations != Bytes::ZERO || buffers != Bytes::ZERO {
            self.changes.push((at, activations, buffers));
        }
    }

    /// Sums up: the peak, and a sample a change when asked for.
    pub(super) fn finish(
        mut self,
        held: &StaticMemory,
        process: u32,
        mut samples: Option<&mut Vec<MemorySample>>,
    ) -> MemoryPeak {
        // Stable: changes of one instant stay in the order in which they were noted.
        self.changes.sort_by_key(|change| change.0);
        let (mut activations, mut buffers) = (Bytes::ZERO, Bytes::ZERO);
        let mut peak = MemoryPeak::default();
        let base = held.total();
        if let Some(samples) = samples.as_deref_mut() {
            samples.push(MemorySample { process, at: Instant::START, allocated: base });
        }
        for (at, more_activations, more_buffers) in self.changes {
            activations += more_activations;
            buffers += more_buffers;
            if activations + buffers > peak.activations + peak.buffers {
                peak = MemoryPeak { activations, buffers, ..peak };
            }
            if let Some(samples) = samples.as_deref_mut() {
                let allocated = base + activations + buffers;
                samples.push(MemorySample { process, at, allocated });
            }
        }
        MemoryPeak { activations_left: activations, buffers_left: buffers, ..peak }
    }
}
