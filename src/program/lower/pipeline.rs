//! Sends and receives between stages.

use super::Lowering;
use super::stage::RoleBuilder;
use crate::graph::Region;
use crate::plan::GroupKind;
use crate::plan::schedule::PipelineShape;
use crate::program::{Action, MemoryEffect, Step, Stream, Tag, Waits, WorkId};
use crate::timeline::Task;
use crate::units::Bytes;
use crate::work::{CollectiveKind, Pass};

/// A place in the pipeline: stage, and chunk of that stage.
type Place = (u32, u32);

/// Where the activations (or gradients) of a task go; `None` at the end of the pipeline, which is
/// the stage `last`.
fn next(stage: u32, task: Task, shape: PipelineShape, last: u32) -> Option<Place> {
    match task.pass {
        Pass::Forward if stage < last => Some((stage + 1, task.chunk)),
        Pass::Forward => (task.chunk + 1 < shape.chunk_count).then_some((0, task.chunk + 1)),
        Pass::Backward if stage > 0 => Some((stage - 1, task.chunk)),
        Pass::Backward => task.chunk.checked_sub(1).map(|chunk| (last, chunk)),
    }
}

/// Where the input of a task comes from; `None` at the start of the pipeline.
fn previous(stage: u32, task: Task, shape: PipelineShape, last: u32) -> Option<Place> {
    let opposite = match task.pass {
        Pass::Forward => Pass::Backward,
        Pass::Backward => Pass::Forward,
    };
    next(stage, Task { pass: opposite, ..task }, shape, last)
}

fn tag(task: Task, (stage, chunk): Place, shape: PipelineShape) -> Tag {
    Tag { pass: task.pass, micro_batch: task.micro_batch, chunk: chunk * shape.stage_count + stage }
}

impl Lowering<'_> {
    /// The stage that the pipeline ends with.
    fn last_stage(&self) -> u32 {
        self.layout.head_stage as u32
    }

    fn transfer(&mut self, pass: Pass, from: u32, to: u32) -> WorkId {
        let shard = &self.layout.shard;
        let hidden = self.width() * self.scenario.model.hidden_size as f64;
        let mut bytes = shard.bytes(Region::Sequence, hidden);
        if self.scatters_transfers() {
            bytes = bytes / shard.tp as f64;
        }
        let (kind, group) = (CollectiveKind::SendReceive, GroupKind::Transfer { from, to });
        let label = if pass == Pass::Forward { "activations" } else { "gradients" };
        self.collective(label, pass, group, kind, bytes)
    }

    /// Whether whole activations travel as one part a tensor-parallel rank (Narayanan et al. 2021,
    /// section 4.1).
    fn scatters_transfers(&self) -> bool {
        let shard = &self.layout.shard;
        self.scenario.stack.p2p_scatter_gather && shard.tp > 1 && !shard.sequence_parallel
    }

    /// Posts the receive of a task's input. Without overlap it is posted when compute gets there,
    /// as a blocking call would.
    pub(super) fn receive(&mut self, role: &mut RoleBuilder, task: Task, shape: PipelineShape) {
        let stage = role.stage as u32;
        let Some((from, _)) = previous(stage, task, shape, self.last_stage()) else { return };
        let work = self.transfer(task.pass, from, stage);
        let waits = if self.scenario.stack.overlap_p2p {
            Waits::NONE
        } else {
            Waits::on(&[role.compute_end])
        };
        let stream = match task.pass {
            Pass::Forward => Stream::ReceiveForward,
            Pass::Backward => Stream::ReceiveBackward,
        };
        let tag = tag(task, (stage, task.chunk), shape);
        let action = Action::Receive { work, stage: from, tag };
        let mut memory = MemoryEffect::default();
        if task.pass == Pass::Backward {
            memory.activations_freed = self.kept_output();
        }
        let mut arrived = role.launch(action, stream, waits, Some(task), memory);
        if self.scatters_transfers() {
            let hidden = self.width() * self.scenario.model.hidden_size as f64;
            let bytes: Bytes = self.layout.shard.bytes(Region::Sequence, hidden);
            let kind = CollectiveKind::AllGather;
            let work = self.collective("pp gather", task.pass, GroupKind::Tensor, kind, bytes);
            let waits = Waits::on(&[arrived]);
            let effect = MemoryEffect::default();
            arrived = role.launch(Action::Work(work), Stream::Tensor, waits, Some(task), effect);
        }
        if self.scenario.stack.synchronous_transfers {
            let time = self.scenario.stack.transfer_host_time;
            role.steps.push(Step::Synchronize { label: "receive", event: arrived });
            role.steps.push(Step::Host { label: "receive", time });
        }
        role.pending.add(arrived);
    }

    /// Sends a task's output. Without overlap the next task waits for the send.
    pub(super) fn send(&mut self, role: &mut RoleBuilder, task: Task, shape: PipelineShape) {
        let stage = role.stage as u32;
        let Some(place) = next(stage, task, shape, self.last_stage()) else { return };
        let work = self.transfer(task.pass, stage, place.0);
        let stream = match task.pass {
            Pass::Forward => Stream::SendForward,
            Pass::Backward => Stream::SendBackward,
        };
        let action = Action::Send { work, stage: place.0, tag: tag(task, place, shape) };
        let waits = Waits::on(&[role.compute_end]);
        let mut memory = MemoryEffect::default();
        if task.pass == Pass::Forward {
            memory.activations_taken = self.kept_output();
        }
        let sent = role.launch(action, stream, waits, Some(task), memory);
        if !self.scenario.stack.overlap_p2p {
            role.pending.add(sent);
        }
        if self.scenario.stack.synchronous_transfers {
            role.steps.push(Step::Synchronize { label: "send", event: sent });
        }
    }
}
