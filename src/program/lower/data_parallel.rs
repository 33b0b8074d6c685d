//! Data parallelism inside the step: bucketed gradient reduction beside backward, and the
//! gathers and scatters of fully sharded parameters.

use std::collections::VecDeque;

use super::stage::{Part, RoleBuilder};
use super::{ChunkContents, Lowering};
use crate::plan::GroupKind;
use crate::program::{Action, EventId, MemoryEffect, Step, Stream, Waits};
use crate::spec::{FsdpCopies, GradientReduce, ParameterExchange, ShardedGradients};
use crate::timeline::Task;
use crate::units::Bytes;
use crate::work::{CollectiveKind, Kernel, MemoryKernel, Pass};

impl Lowering<'_> {
    /// Parameters of a part on a rank, before data-parallel sharding.
    fn part_parameters(role: &RoleBuilder, part: Part) -> f64 {
        match part {
            Part::Embedding(_) => role.state.embedding_parameters,
            Part::Layer(_) => role.state.layer_parameters,
            Part::Head(_) => role.state.head_parameters,
        }
    }

    /// A backward whose gradients are reduced bucket by bucket beside it.
    pub(super) fn reducing_chunk(
        &mut self,
        role: &mut RoleBuilder,
        task: Task,
        contents: ChunkContents,
    ) {
        let parts = self.chunk_parts(task.pass, contents);
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.into_iter().enumerate() {
            let action = self.beside_communication(part.block());
            let mut memory = MemoryEffect::default();
            if index == last {
                memory.activations_freed = self.gradients_left(contents);
            }
            role.compute(action, Some(task), memory);
            role.bucket_parameters += Self::part_parameters(role, part);
            let gradient_bytes =
                role.bucket_parameters * self.scenario.stack.gradient_dtype.bytes();
            let full = self.scenario.stack.gradient_reduce == GradientReduce::Bucketed
                && gradient_bytes >= self.scenario.stack.gradient_bucket.value();
            if full {
                self.reduce_bucket(role, Some(task));
            }
        }
    }

    /// Reduces the gradients that wait, beside compute.
    pub(super) fn reduce_bucket(&mut self, role: &mut RoleBuilder, task: Option<Task>) {
        let parameters = std::mem::take(&mut role.bucket_parameters);
        if parameters == 0.0 {
            return;
        }
        role.reduced_parameters += parameters;
        role.last_reduce = self.reduce_gradients(role, parameters, task, true);
    }

    /// Whether ZeRO-1 sums all gradients on all ranks after the last backward.
    pub(super) fn reduces_at_end(&self) -> bool {
        self.scenario.plan.zero == 1
            && self.scenario.stack.sharded_gradients == ShardedGradients::AllReduceAtEnd
    }

    /// Sums the gradients of some parameters over their replicas: reduce-scatter when optimizer
    /// states are sharded, with an all-reduce over the copies of a shard; else all-reduce.
    pub(super) fn reduce_gradients(
        &mut self,
        role: &mut RoleBuilder,
        parameters: f64,
        task: Option<Task>,
        across_copies: bool,
    ) -> EventId {
        let mesh = &self.layout.mesh;
        let replicas = mesh.size.dp * mesh.size.cp;
        let bytes = Bytes::new(parameters * self.scenario.stack.gradient_reduce_dtype.bytes());
        let (pass, stream) = (Pass::Backward, Stream::GradientReduce);
        if self.scenario.plan.zero == 0 || self.reduces_at_end() {
            let kind = CollectiveKind::AllReduce;
            let work = self.collective("dp all-reduce", pass, GroupKind::Data, kind, bytes);
            return role.fork(work, stream, task);
        }
        let shard_group = mesh.shard_group;
        let mut end = role.compute_end;
        if shard_group > 1 {
            let kind = CollectiveKind::ReduceScatter;
            let work = self.collective("dp reduce-scatter", pass, GroupKind::Shard, kind, bytes);
            end = role.fork(work, stream, task);
        }
        if across_copies && shard_group < replicas {
            let kind = CollectiveKind::AllReduce;
            let part = bytes / shard_group as f64;
            let work = self.collective("dp all-reduce", pass, GroupKind::Replicate, kind, part);
            end = role.fork(work, stream, task);
        }
        end
    }

    /// A chunk whose parameters are fully sharded: each layer is gathered ahead of its use, freed
    /// after it, and its gradients scattered beside backward; embedding and head form a root unit
    /// that stays gathered from forward to backward (FSDP, Zhao et al. 2023, section 3.3).
    pub(super) fn sharded_chunk(
        &mut self,
        role: &mut RoleBuilder,
        task: Task,
        contents: ChunkContents,
        last_micro_batch: bool,
    ) {
        let parts = self.chunk_parts(task.pass, contents);
        let forward = task.pass == Pass::Forward;
        let reshard = self.scenario.plan.reshard_after_forward;
        let prefetch = self.scenario.stack.fsdp_prefetch as usize;
        let gathers = |part: &Part| forward || (reshard && matches!(part, Part::Layer(_)));
        // Gathers run ahead of compute by `prefetch` units, across tasks too: each waits for the
        // end of the unit that frees its place.
        let before = role.unit_ends.len();
        let mut waiting: VecDeque<(usize, EventId)> = VecDeque::new();
        let mut gathered_up_to = 0;
        for (index, &part) in parts.iter().enumerate() {
            while gathered_up_to < parts.len() && gathered_up_to <= index + prefetch {
                let ahead = gathered_up_to;
                gathered_up_to += 1;
                if gathers(&parts[ahead]) {
                    let free = (before + ahead).checked_sub(prefetch + 1);
                    let after = free.map_or(EventId::NONE, |unit| role.unit_ends[unit]);
                    let bytes = self.gathered_part(role, parts[ahead]);
                    let end = self.gather_parameters(role, bytes, after, task);
                    waiting.push_back((ahead, end));
                }
            }
            if waiting.front().is_some_and(|&(unit, _)| unit == index)
                && let Some((_, arrived)) = waiting.pop_front()
            {
                role.pending.add(arrived);
                if self.scenario.stack.fsdp_copies == FsdpCopies::Both {
                    let bytes = self.gathered_part(role, part).value();
                    self.copy_parameters(role, "copy gathered", task.pass, [bytes, bytes]);
                }
            }
            let end = self.sharded_unit(role, part, task, last_micro_batch);
            role.unit_ends.push(end);
        }
    }

    fn gather_parameters(
        &mut self,
        role: &mut RoleBuilder,
        bytes: Bytes,
        after: EventId,
        task: Task,
    ) -> EventId {
        let kind = CollectiveKind::AllGather;
        let work = self.collective("dp all-gather", task.pass, GroupKind::Shard, kind, bytes);
        let memory = MemoryEffect { buffers_taken: bytes, ..MemoryEffect::default() };
        let waits = Waits::on(&[after]);
        role.launch(Action::Work(work), Stream::ParameterGather, waits, Some(task), memory)
    }

    /// Bytes of gathered parameters: those of layers travel in the format of products where the
    /// stack keeps them so.
    fn gathered(&self, layers: f64, others: f64) -> Bytes {
        let stack = &self.scenario.stack;
        let width = stack.parameter_gather_dtype.map_or_else(|| self.width(), |it| it.bytes());
        let linear = self.layout.shard.linear;
        let narrow = stack.narrow_parameters && linear.is_quantised();
        let layer_width = if narrow { linear.bytes().min(width) } else { width };
        Bytes::new(layers * layer_width + others * width)
    }

    /// Bytes of a gathered part.
    fn gathered_part(&self, role: &RoleBuilder, part: Part) -> Bytes {
        let parameters = Self::part_parameters(role, part);
        match part {
            Part::Layer(_) => self.gathered(parameters, 0.0),
            _ => self.gathered(0.0, parameters),
        }
    }

    /// A pass over `parameters` values on the compute stream, beside what moves data.
    fn copy_parameters(
        &mut self,
        role: &mut RoleBuilder,
        label: &'static str,
        pass: Pass,
        [read, write]: [f64; 2],
    ) {
        let kernel = Kernel::Memory {
            kind: MemoryKernel::Copy,
            read: Bytes::new(read),
            write: Bytes::new(write),
        };
        self.run_kernel(role, label, pass, kernel);
    }

    /// Runs a unit of fully sharded parameters; backward also scatters its gradients.
    fn sharded_unit(
        &mut self,
        role: &mut RoleBuilder,
        part: Part,
        task: Task,
        last_micro_batch: bool,
    ) -> EventId {
        let parameters = Self::part_parameters(role, part);
        let gathered = self.gathered_part(role, part);
        let layer = matches!(part, Part::Layer(_));
        let forward = task.pass == Pass::Forward;
        let frees = !forward || (layer && self.scenario.plan.reshard_after_forward);
        let mut memory = MemoryEffect::default();
        if frees {
            memory.buffers_freed = gathered;
        }
        let action = self.beside_communication(part.block());
        if forward {
            return role.compute(action, Some(task), memory);
        }
        // The unsharded gradient lives from the unit's backward to the end of its scatter.
        let gradient = Bytes::new(parameters * self.scenario.stack.gradient_reduce_dtype.bytes());
        memory.buffers_taken = gradient;
        let end = role.compute(action, Some(task), memory);
        let reduced = self.scenario.stack.gradient_reduce_dtype.bytes();
        let copies = match self.scenario.stack.fsdp_copies {
            FsdpCopies::None => false,
            FsdpCopies::Cast => reduced != self.width(),
            FsdpCopies::Both => true,
        };
        if copies {
            let bytes = [parameters * self.width(), parameters * reduced];
            self.copy_parameters(role, "copy gradients", Pass::Backward, bytes);
        }
        role.last_reduce = self.reduce_gradients(role, parameters, Some(task), last_micro_batch);
        if let Some(crate::program::Step::Launch(launch)) = role.steps.last_mut() {
            launch.memory.buffers_freed += gradient;
        }
        if !self.scenario.stack.overlap_gradient_reduce {
            role.pending.add(role.last_reduce);
        }
        end
    }

    /// ZeRO 1 and 2: gathers the parameters that the last step updated, chunk by chunk, beside the
    /// forward that needs them, or at the end of the step.
    pub(super) fn gather_updated_parameters(&mut self, role: &mut RoleBuilder, at_start: bool) {
        let (plan, stack) = (&self.scenario.plan, &self.scenario.stack);
        let sharded = matches!(plan.zero, 1 | 2) && self.layout.mesh.shard_group > 1;
        let overlaps = stack.overlap_parameter_gather && !self.reduces_at_end();
        if !sharded || overlaps != at_start {
            return;
        }
        if !at_start {
            let slices = self.tensor_count(role.stage) * self.layout.mesh.shard_group as f64;
            let time = stack.gather_slice_host_time * slices;
            role.steps.push(Step::Host { label: "parameter slices", time });
        }
        for chunk in 0..plan.virtual_stages as u32 {
            let contents = self.contents(role.stage, chunk);
            let layers = (contents.recomputed_layers + contents.plain_layers) as f64;
            let mut others = 0.0;
            if contents.embedding {
                others += role.state.embedding_parameters;
            }
            if contents.head {
                others += role.state.head_parameters;
            }
            let bytes = self.gathered(layers * role.state.layer_parameters, others);
            if bytes != Bytes::ZERO {
                self.exchange_updated(role, bytes, layers, at_start);
            }
        }
    }

    /// Sends updated parameters of some layers to all ranks of the shard group.
    fn exchange_updated(
        &mut self,
        role: &mut RoleBuilder,
        bytes: Bytes,
        layers: f64,
        at_start: bool,
    ) {
        let shards = self.layout.mesh.shard_group;
        let (kind, label, count) = match self.scenario.stack.parameter_exchange {
            ParameterExchange::AllGather => (CollectiveKind::AllGather, "dp all-gather", 1),
            ParameterExchange::Broadcast => {
                // Ranks beyond the number of matrices have none to send.
                let is_linear = |operation: &&crate::graph::Operation| {
                    matches!(operation.kind, crate::graph::OperationKind::Linear { .. })
                };
                let matrices = self.graph.layer.iter().filter(is_linear).count() as f64;
                let count = shards.min((layers * matrices) as u64 + 2);
                (CollectiveKind::Broadcast, "dp broadcast", count.max(1))
            }
        };
        let bytes = bytes / count as f64;
        let work = self.collective(label, Pass::Forward, GroupKind::Shard, kind, bytes);
        let mut end = EventId::NONE;
        for _ in 0..count {
            if at_start {
                end = role.fork(work, Stream::ParameterGather, None);
            } else {
                role.serial(work, Stream::ParameterGather);
            }
        }
        if at_start {
            role.gathered.push(end);
        }
    }
}
