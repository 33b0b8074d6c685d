//! A measured run and the scenario that it is.

use crate::units::{Bytes, Seconds};

/// A run that somebody measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the run, unique in its family.
    pub id: String,
    /// What it is told together with: runs of one source, cluster and stack.
    pub family: String,
    /// Where it was published.
    pub source: String,
    /// How far the source is to be trusted: `A` or `B`; empty when it is not said.
    pub quality: String,
    /// The scenario as TOML, or why there is none.
    pub scenario: Result<String, String>,
    /// What was assumed where the source or the data folder says nothing.
    pub assumed: Vec<String>,
    /// What was measured.
    pub measured: Measured,
}

/// What was measured of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Length of a step.
    pub step_time: Seconds,
    /// Peak memory of a GPU, and what it counts.
    pub peak_memory: Option<(Bytes, MemoryKind)>,
}

/// What a measured peak counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// Tensors (`torch.cuda.max_memory_allocated`), of the fullest rank.
    Allocated,
    /// What the caching allocator holds (`torch.cuda.max_memory_reserved`), of the fullest rank.
    Reserved,
    /// Tensors of rank 0.
    FirstRank,
    /// All that the driver counts for the process (nvidia-smi), of the fullest rank.
    Device,
}

impl MemoryKind {
    /// The kind of a word of the tables' column `mem_kind`; `unknown` and unknown words are none.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "allocated" => Some(Self::Allocated),
            "reserved" => Some(Self::Reserved),
            "rank0" => Some(Self::FirstRank),
            "nvidia-smi" => Some(Self::Device),
            _ => None,
        }
    }

    /// The word of the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::Reserved => "reserved",
            Self::FirstRank => "rank0",
            Self::Device => "nvidia-smi",
        }
    }
}
