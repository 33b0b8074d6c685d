//! A stage's role: the step from its first instruction to its last.

use super::narrow::Narrow;
use super::{BlockKey, ChunkContents, Lowering};
use crate::plan::schedule::{self, PipelineShape};
use crate::plan::{Held, StageState};
use crate::program::block::BlockBuilder;
use crate::program::{
    Action, BlockId, EventId, Launch, MemoryEffect, Role, Step, Stream, Waits, WorkId, WorkKind,
};
use crate::spec::LayerKind;
use crate::timeline::Task;
use crate::units::Bytes;
use crate::work::{Kernel, MemoryKernel, Pass};

/// A role under construction.
pub(super) struct RoleBuilder {
    pub(super) stage: usize,
    pub(super) state: StageState,
    pub(super) steps: Vec<Step>,
    pub(super) event_count: u32,
    /// End of the last launch on the compute stream.
    pub(super) compute_end: EventId,
    /// What the next launch on the compute stream waits for.
    pub(super) pending: Waits,
    /// End of the parameter gather of each chunk (ZeRO 1 and 2).
    pub(super) gathered: Vec<EventId>,
    /// Parameters whose gradients have been reduced beside backward.
    pub(super) reduced_parameters: Held,
    /// Parameters whose gradients wait for their bucket to fill: experts have buckets of their own.
    pub(super) bucket_parameters: Held,
    /// End of the last gradient reduction, which the optimizer waits for.
    pub(super) last_reduce: EventId,
    /// Ends of the units of fully sharded parameters so far.
    pub(super) unit_ends: Vec<EventId>,
    /// A backward whose gradients are sent after the next receive.
    unsent: Option<Task>,
}

impl RoleBuilder {
    fn new(stage: usize, state: StageState) -> Self {
        Self {
            stage,
            state,
            steps: Vec::new(),
            event_count: 0,
            compute_end: EventId::NONE,
            pending: Waits::NONE,
            gathered: Vec::new(),
            reduced_parameters: Held::default(),
            bucket_parameters: Held::default(),
            last_reduce: EventId::NONE,
            unit_ends: Vec::new(),
            unsent: None,
        }
    }

    /// Puts work on a stream; returns the event of its end.
    pub(super) fn launch(
        &mut self,
        action: Action,
        stream: Stream,
        waits: Waits,
        task: Option<Task>,
        memory: MemoryEffect,
    ) -> EventId {
        let records = EventId(self.event_count);
        self.event_count += 1;
        self.steps.push(Step::Launch(Launch { action, stream, waits, records, task, memory }));
        records
    }

    /// Puts work on the compute stream, after all that is pending.
    pub(super) fn compute(
        &mut self,
        action: Action,
        task: Option<Task>,
        memory: MemoryEffect,
    ) -> EventId {
        let waits = std::mem::replace(&mut self.pending, Waits::NONE);
        self.compute_end = self.launch(action, Stream::Compute, waits, task, memory);
        self.compute_end
    }

    /// Communication that starts when compute has got here.
    pub(super) fn fork(&mut self, work: WorkId, stream: Stream, task: Option<Task>) -> EventId {
        let waits = Waits::on(&[self.compute_end]);
        self.launch(Action::Work(work), stream, waits, task, MemoryEffect::default())
    }

    /// Communication that the next compute launch waits for.
    pub(super) fn serial(&mut self, work: WorkId, stream: Stream) -> EventId {
        let mut waits = self.pending;
        waits.add(self.compute_end);
        let end = self.launch(Action::Work(work), stream, waits, None, MemoryEffect::default());
        self.pending = Waits::on(&[end]);
        end
    }
}

impl Lowering<'_> {
    /// The role of a stage.
    pub(super) fn role(&mut self, stage: usize, state: &StageState) -> Role {
        let scenario = self.scenario;
        let shape = PipelineShape {
            stage_count: self.layout.stage_layers.len() as u32,
            micro_batch_count: self.layout.micro_batch_count as u32,
            chunk_count: scenario.plan.virtual_stages as u32,
        };
        let mut role = RoleBuilder::new(stage, *state);
        role.steps.push(Step::Host { label: "step", time: scenario.stack.step_host_time });
        self.gather_updated_parameters(&mut role, true);
        self.begin_step(&mut role);
        let schedule = schedule::find(scenario.plan.schedule);
        let idle = stage > self.layout.head_stage;
        let order = if idle { Vec::new() } else { schedule.order(stage as u32, shape) };
        let warm_up = if idle { 0 } else { schedule.warm_up(stage as u32, shape) };
        let groups = self.communication_groups(&order, warm_up as usize);
        for (index, group) in groups.iter().enumerate() {
            let next = groups.get(index + 1).and_then(|group| group.first());
            self.run_group(&mut role, group, next, shape);
        }
        self.tail(&mut role);
        Role {
            stage: stage as u64,
            steps: role.steps,
            other_threads: Vec::new(),
            host_lanes: Vec::new(),
            event_count: role.event_count,
            memory: self.static_memory(stage, state),
        }
    }

    /// Clears the gradients and quantises the weights, once a step.
    fn begin_step(&mut self, role: &mut RoleBuilder) {
        let traffic =
            crate::graph::optimizer_traffic(&self.scenario.stack, &self.scenario.training);
        let zero = self.scenario.plan.zero;
        let held = |held: Held, from| {
            if zero >= from { role.state.sharded(held) } else { held.total() }
        };
        let (cleared, quantised) =
            (held(role.state.parameters, 2), held(role.state.layer_parameters, 3));
        let clear = Kernel::Memory {
            kind: MemoryKernel::Copy,
            read: Bytes::ZERO,
            write: Bytes::new(cleared * traffic.clear.write),
        };
        self.run_kernel(role, "clear gradients", Pass::Forward, clear);
        let dtype = self.layout.shard.linear;
        if dtype.is_quantised() {
            let kernel = Narrow::new(self.scenario, dtype).kernel(quantised, self.width());
            self.run_kernel(role, "quantise weights", Pass::Forward, kernel);
        }
    }

    /// One kernel on the compute stream.
    pub(super) fn run_kernel(
        &mut self,
        role: &mut RoleBuilder,
        label: &'static str,
        pass: Pass,
        kernel: Kernel,
    ) {
        let work = self.works.intern(label, pass, WorkKind::Kernel(kernel));
        role.compute(Action::Work(work), None, MemoryEffect::default());
    }

    /// Tasks between two points at which the stage sends and receives. With overlapped or plain
    /// schedules that is each task; the interleaved schedule without overlap communicates once a
    /// forward and backward in its steady state, as Megatron-LM's
    /// `send_forward_backward_recv_forward_backward` does.
    fn communication_groups<'t>(&self, order: &'t [Task], warm_up: usize) -> Vec<&'t [Task]> {
        let pairs = self.scenario.plan.schedule == crate::spec::Schedule::Interleaved
            && !self.scenario.stack.overlap_p2p;
        if !pairs {
            return order.chunks(1).collect();
        }
        let (first, rest) = order.split_at(warm_up);
        // As many backwards as forwards in warm-up are left for the end.
        let (steady, last) = rest.split_at(rest.len() - warm_up);
        first.chunks(1).chain(steady.chunks(2)).chain(last.chunks(1)).collect()
    }

    /// Receives, tasks, sends. Where both ends of a transfer wait for it, two stages that send to
    /// each other would wait for ever: the gradients of a backward are sent once the activations
    /// of the next forward have come (nanotron `pipeline_parallel/state.py`, `run_communication`).
    fn run_group(
        &mut self,
        role: &mut RoleBuilder,
        group: &[Task],
        next: Option<&Task>,
        shape: PipelineShape,
    ) {
        for &task in group {
            self.receive(role, task, shape);
        }
        if let Some(task) = role.unsent.take() {
            self.send(role, task, shape);
        }
        for &task in group {
            if task.pass == Pass::Forward && task.chunk == 0 {
                let time = self.scenario.stack.micro_batch_host_time;
                role.steps.push(Step::Host { label: "micro-batch", time });
            }
            self.task(role, task, shape);
        }
        let receives_next = role.stage > 0 && next.is_some_and(|task| task.pass == Pass::Forward);
        for &task in group {
            let is_late = self.scenario.stack.synchronous_transfers
                && task.pass == Pass::Backward
                && receives_next;
            if is_late {
                role.unsent = Some(task);
            } else {
                self.send(role, task, shape);
            }
        }
    }

    /// One forward or backward of a chunk.
    fn task(&mut self, role: &mut RoleBuilder, task: Task, shape: PipelineShape) {
        let contents = self.contents(role.stage, task.chunk);
        if task.pass == Pass::Forward
            && let Some(&gathered) = role.gathered.get(task.chunk as usize)
        {
            role.pending.add(gathered);
        }
        let last = task.micro_batch + 1 == shape.micro_batch_count;
        let plan = &self.scenario.plan;
        let reduces = self.scenario.stack.overlap_gradient_reduce
            && self.has_replicas()
            && !self.reduces_at_end();
        if plan.zero >= 3 && self.layout.mesh.shard_group > 1 {
            self.sharded_chunk(role, task, contents, last);
        } else if reduces && task.pass == Pass::Backward && (plan.zero >= 2 || last) {
            self.reducing_chunk(role, task, contents);
        } else if reduces && plan.zero >= 2 {
            // The reduction of the micro-batch before may still run.
            for part in self.chunk_parts(task.pass, contents) {
                let action = self.beside_communication(part.block());
                role.compute(action, Some(task), MemoryEffect::default());
            }
        } else {
            let block = self.chunk_block(task.pass, contents);
            let mut memory = MemoryEffect::default();
            if task.pass == Pass::Backward {
                memory.activations_freed = self.gradients_left(contents);
            }
            role.compute(Action::Block(block), Some(task), memory);
        }
    }

    /// The blocks of a chunk in the order of a pass: embedding, layers, head, or back.
    pub(super) fn chunk_parts(&mut self, pass: Pass, contents: ChunkContents) -> Vec<Part> {
        let mut parts = Vec::new();
        if contents.embedding {
            parts.push(Part::Embedding(self.embedding_block(pass)));
        }
        for layer in 0..contents.layers {
            let kind = self.scenario.model.layer_kind(contents.first_layer + layer);
            let block = self.layer_block(pass, layer < contents.recomputed_layers, kind);
            parts.push(Part::Layer(block, kind));
        }
        if contents.head {
            parts.push(Part::Head(self.head_block(pass)));
        }
        if pass == Pass::Backward {
            parts.reverse();
        }
        parts
    }

    /// Runs a block beside communication of other streams; one that communicates itself is open.
    pub(super) fn beside_communication(&self, block: BlockId) -> Action {
        let launches = &self.blocks[block.0 as usize].launches;
        if launches.iter().any(|launch| launch.stream != Stream::Compute) {
            Action::OpenBlock(block)
        } else {
            Action::Block(block)
        }
    }

    /// A whole chunk as one block.
    fn chunk_block(&mut self, pass: Pass, contents: ChunkContents) -> BlockId {
        let key = BlockKey::Chunk { pass, contents };
        if let Some(&id) = self.known_blocks.get(&key) {
            return id;
        }
        let mut builder = BlockBuilder::new();
        for part in self.chunk_parts(pass, contents) {
            builder.compute(Action::Block(part.block()), MemoryEffect::default());
        }
        if builder.is_empty() {
            // A chunk without layers passes on what it gets; the least that a kernel can do.
            let (read, write) = (Bytes::ZERO, Bytes::ZERO);
            let kernel = Kernel::Memory { kind: MemoryKernel::Pointwise, read, write };
            let work = self.works.kernel("pass on", pass, kernel);
            builder.compute(Action::Work(work), MemoryEffect::default());
        }
        let label = if pass == Pass::Forward { "forward" } else { "backward" };
        self.add_block(key, builder.finish(label))
    }
}

/// A block of a chunk, by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Embedding(BlockId),
    Layer(BlockId, LayerKind),
    Head(BlockId),
}

impl Part {
    pub(super) fn block(self) -> BlockId {
        match self {
            Self::Embedding(block) | Self::Layer(block, _) | Self::Head(block) => block,
        }
    }
}
