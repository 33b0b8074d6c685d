//! The instructions of a step: what each rank's host launches, on which stream, after what.
//!
//! A [`Program`] knows no seconds. Ranks with equal instructions share a [`Role`]; stretches that
//! repeat are [`Block`]s. A lowered plan is a program, and so is a recorded trace: its streams are
//! [`Stream::Recorded`], its works [`WorkKind::Recorded`] and [`WorkKind::Meeting`], and its ranks
//! may have several host threads, which hand over to each other with [`Step::Signal`].

mod block;
mod expand;
mod fold;
mod instruction;
mod lower;
mod verify;

pub use block::{Block, BlockId};
pub use expand::{close_open, expand, expand_open};
pub use fold::{RankSelection, select_ranks};
pub use instruction::{
    Action, EventId, GroupId, Launch, MemoryEffect, Step, Stream, Tag, Waits, Work, WorkId,
    WorkKind,
};
pub use lower::lower;
pub use verify::{ProgramError, verify};

use crate::plan::GroupKind;
use crate::timeline::Lane;
use crate::units::Bytes;

/// Memory that a rank of a role holds from the first to the last instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StaticMemory {
    /// Parameters.
    pub weights: Bytes,
    /// Gradients.
    pub gradients: Bytes,
    /// Main parameters and moments.
    pub optimizer: Bytes,
    /// Workspaces, and gradients of weights that the stack keeps beside the buffer.
    pub buffers: Bytes,
    /// Context, framework and communicators, outside of the caching allocator.
    pub overhead: Bytes,
}

impl StaticMemory {
    /// All of it.
    pub fn total(&self) -> Bytes {
        self.weights + self.gradients + self.optimizer + self.buffers + self.overhead
    }
}

/// The instructions that equal ranks share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// Pipeline stage.
    pub stage: u64,
    /// Instructions of the main host thread, in order.
    pub steps: Vec<Step>,
    /// Instructions of the other host threads; a lowered plan has none.
    pub other_threads: Vec<Vec<Step>>,
    /// Lane of each host thread in a timeline, the main thread's first.
    pub host_lanes: Vec<Lane>,
    /// Events that the instructions record, numbered from 0.
    pub event_count: u32,
    /// Memory held throughout.
    pub memory: StaticMemory,
}

impl Role {
    /// Instructions of each host thread, the main thread's first.
    pub fn threads(&self) -> impl Iterator<Item = &[Step]> {
        std::iter::once(&self.steps).chain(&self.other_threads).map(Vec::as_slice)
    }

    /// Instructions of a host thread; 0 is the main thread.
    pub fn thread(&self, index: usize) -> &[Step] {
        match index.checked_sub(1) {
            None => &self.steps,
            Some(other) => &self.other_threads[other],
        }
    }

    /// Lane of a host thread in a timeline: [`Lane::Host`] unless the role says another one.
    pub fn host_lane(&self, thread: usize) -> Lane {
        self.host_lanes.get(thread).copied().unwrap_or(Lane::Host)
    }
}

/// A rank that is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct RankEntry {
    /// Rank in the job.
    pub rank: u64,
    /// Index into [`Program::roles`].
    pub role: usize,
    /// How many equal ranks it stands for.
    pub multiplicity: u64,
    /// Its groups: kind, and index into [`Program::groups`].
    pub groups: Vec<(GroupKind, usize)>,
}

/// A communicator among simulated ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its kind.
    pub kind: GroupKind,
    /// Indices into [`Program::ranks`] of the members that are simulated.
    pub members: Vec<usize>,
}

/// A whole step.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Everything that takes time, each once.
    pub works: Vec<Work>,
    /// Stretches that repeat.
    pub blocks: Vec<Block>,
    /// Distinct programs.
    pub roles: Vec<Role>,
    /// Simulated ranks.
    pub ranks: Vec<RankEntry>,
    /// Communicators.
    pub groups: Vec<Group>,
}

impl Program {
    /// The work behind an id.
    pub fn work(&self, id: WorkId) -> &Work {
        &self.works[id.0 as usize]
    }

    /// The block behind an id.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }
}
