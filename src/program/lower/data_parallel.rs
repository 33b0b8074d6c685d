//! Data parallelism inside the step: bucketed gradient reduction beside backward, and the
//! gathers and scatters of fully sharded parameters.

use std::collections::VecDeque;

use super::stage::{Part, RoleBuilder};
use super::{ChunkContents, Lowering};
use crate::plan::{GroupKind, Held};
use crate::program::{Action, EventId, MemoryEffect, Step, Stream, Waits};
use crate::spec::{FsdpCopies, GradientReduce, ParameterExchange, ShardedGradients};
use crate::timeline::Task;
use crate::units::Bytes;
use crate::work::{CollectiveKind, Kernel, MemoryKernel, Pass};

impl Lowering<'_> {
    /// Parameters of a part on a rank, before data-parallel sharding.
    fn part_parameters(role: &RoleBuilder, part: Part) -> Held {
        match part {
            Part::Embedding(_) => Held::dense(role.state.embedding_parameters),
            Part::Layer(_, kind) => role.state.layer(kind),
            Part::Head(_) => Held::dense(role.state.head_parameters),
        }
    }

    /// Whether any gradients are summed over replicas.
    pub(super) fn has_replicas(&self) -> bool {
        let mesh = &self.layout.mesh;
        mesh.size.dp * mesh.size.cp > 1 || mesh.experts.replicas > 1
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
            role.bucket_parameters = role.bucket_parameters + Self::part_parameters(role, part);
            let stack = &self.scenario.stack;
            if stack.gradient_reduce == GradientReduce::Bucketed {
                let full = stack.gradient_bucket.value() / stack.gradient_dtype.bytes();
                let taken = |waiting: f64| if waiting >= full { waiting } else { 0.0 };
                let Held { dense, experts } = role.bucket_parameters;
                let taken = Held { dense: taken(dense), experts: taken(experts) };
                self.reduce_bucket(role, Some(task), taken);
            }
        }
    }

    /// Reduces some of the gradients that wait, beside compute.
    pub(super) fn reduce_bucket(
        &mut self,
        role: &mut RoleBuilder,
        task: Option<Task>,
        taken: Held,
    ) {
        if taken.total() == 0.0 {
            return;
        }
        let Held { dense, experts } = role.bucket_parameters;
        role.bucket_parameters =
            Held { dense: dense - taken.dense, experts: experts - taken.experts };
        role.reduced_parameters = role.reduced_parameters + taken;
        role.last_reduce = self.reduce_gradients(role, taken, task, true);
    }

    /// Whether ZeRO-1 sums all gradients on all ranks after the last backward.
    pub(super) fn reduces_at_end(&self) -> bool {
        self.scenario.plan.zero == 1
            && self.scenario.stack.sharded_gradients == ShardedGradients::AllReduceAtEnd
    }

    /// Sums the gradients of some parameters over their replicas.
    pub(super) fn reduce_gradients(
        &mut self,
        role: &mut RoleBuilder,
        parameters: Held,
        task: Option<Task>,
        across_copies: bool,
    ) -> EventId {
        let mut end = role.compute_end;
        for (parameters, replicas) in self.replicated(parameters) {
            end = self.reduce_over(role, parameters, task, across_copies, replicas).unwrap_or(end);
        }
        end
    }

    /// Parameters that there are any of, with the groups that hold them.
    fn replicated(&self, parameters: Held) -> impl Iterator<Item = (f64, Replicas)> + use<> {
        let mesh = &self.layout.mesh;
        let dense = Replicas {
            count: mesh.size.dp * mesh.size.cp,
            shards: mesh.shard_group,
            groups: [GroupKind::Data, GroupKind::Shard, GroupKind::Replicate],
        };
        let experts = Replicas {
            count: mesh.experts.replicas,
            shards: mesh.experts.shard_group,
            groups: [GroupKind::ExpertData, GroupKind::ExpertShard, GroupKind::ExpertReplicate],
        };
        let all = [(parameters.dense, dense), (parameters.experts, experts)];
        all.into_iter().filter(|(parameters, replicas)| *parameters > 0.0 && replicas.count > 1)
    }

    /// A reduce-scatter when optimizer states are sharded, with an all-reduce over the copies of a
    /// shard; else an all-reduce.
    fn reduce_over(
        &mut self,
        role: &mut RoleBuilder,
        parameters: f64,
        task: Option<Task>,
        across_copies: bool,
        replicas: Replicas,
    ) -> Option<EventId> {
        let bytes = Bytes::new(parameters * self.scenario.stack.gradient_reduce_dtype.bytes());
        let (pass, stream) = (Pass::Backward, Stream::GradientReduce);
        let [data, shard, copies] = replicas.groups;
        if self.scenario.plan.zero == 0 || self.reduces_at_end() {
            let kind = CollectiveKind::AllReduce;
            let work = self.collective("dp all-reduce", pass, data, kind, bytes);
            return Some(role.fork(work, stream, task));
        }
        let mut end = None;
        if replicas.shards > 1 {
            let kind = CollectiveKind::ReduceScatter;
            let work = self.collective("dp reduce-scatter", pass, shard, kind, bytes);
            end = Some(role.fork(work, stream, task));
        }
        if across_copies && replicas.shards < replicas.count {
            let kind = CollectiveKind::AllReduce;
            let part = bytes / replicas.shards as f64;
            let work = self.collective("dp all-reduce", pass, copies, kind, part);
            end = Some(role.fork(work, stream, task));
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
        let gathers = |part: &Part| forward || (reshard && matches!(part, Part::Layer(..)));
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
                    let bytes = self.gathered_part(role, part).iter().map(|it| it.0.value()).sum();
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
        gathers: Vec<(Bytes, GroupKind)>,
        after: EventId,
        task: Task,
    ) -> EventId {
        let mut end = after;
        for (bytes, group) in gathers {
            let kind = CollectiveKind::AllGather;
            let work = self.collective("dp all-gather", task.pass, group, kind, bytes);
            let memory = MemoryEffect { buffers_taken: bytes, ..MemoryEffect::default() };
            let waits = Waits::on(&[after]);
            let stream = Stream::ParameterGather;
            end = role.launch(Action::Work(work), stream, waits, Some(task), memory);
        }
        end
    }

    /// Bytes of gathered parameters and among whom: those of layers travel in the format of
    /// products where the stack keeps them so.
    fn gathers(&self, layers: Held, others: f64) -> Vec<(Bytes, GroupKind)> {
        let stack = &self.scenario.stack;
        let width = stack.parameter_gather_dtype.map_or_else(|| self.width(), |it| it.bytes());
        let linear = self.layout.shard.linear;
        let narrow = stack.narrow_parameters && linear.is_quantised();
        let layer_width = if narrow { linear.bytes().min(width) } else { width };
        let bytes = Held {
            dense: layers.dense * layer_width + others * width,
            experts: layers.experts * layer_width,
        };
        let sharded = self.replicated(bytes).filter(|(_, replicas)| replicas.shards > 1);
        sharded.map(|(bytes, replicas)| (Bytes::new(bytes), replicas.groups[1])).collect()
    }

    /// The same of a part.
    fn gathered_part(&self, role: &RoleBuilder, part: Part) -> Vec<(Bytes, GroupKind)> {
        let parameters = Self::part_parameters(role, part);
        match part {
            Part::Layer(..) => self.gathers(parameters, 0.0),
            _ => self.gathers(Held::default(), parameters.dense),
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
        let gathered: Bytes =
            self.gathered_part(role, part).into_iter().map(|(bytes, _)| bytes).sum();
        let layer = matches!(part, Part::Layer(..));
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
        let gradient =
            Bytes::new(parameters.total() * self.scenario.stack.gradient_reduce_dtype.bytes());
        memory.buffers_taken = gradient;
        let end = role.compute(action, Some(task), memory);
        let reduced = self.scenario.stack.gradient_reduce_dtype.bytes();
        let copies = match self.scenario.stack.fsdp_copies {
            FsdpCopies::None => false,
            FsdpCopies::Cast => reduced != self.width(),
            FsdpCopies::Both => true,
        };
        if copies {
            let bytes = [parameters.total() * self.width(), parameters.total() * reduced];
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
        let overlaps = stack.overlap_parameter_gather && !self.reduces_at_end();
        let is_sharded =
            self.gathers(role.state.parameters, 0.0).iter().any(|it| it.0 > Bytes::ZERO);
        if !matches!(plan.zero, 1 | 2) || overlaps != at_start || !is_sharded {
            return;
        }
        if !at_start {
            let slices = self.tensor_count(role.stage) * self.layout.mesh.shard_group as f64;
            let time = stack.gather_slice_host_time * slices;
            role.steps.push(Step::Host { label: "parameter slices", time });
        }
        for chunk in 0..plan.virtual_stages as u32 {
            let contents = self.contents(role.stage, chunk);
            let kinds = self.layout.kinds_of(role.stage, chunk as usize).iter();
            let layers: Held = kinds.map(|kind| role.state.layer(*kind)).sum();
            let mut others = 0.0;
            if contents.embedding {
                others += role.state.embedding_parameters;
            }
            if contents.head {
                others += role.state.head_parameters;
            }
            let matrices = self.matrices_of_chunk(role.stage, chunk as usize);
            let mut end = EventId::NONE;
            for gather in self.gathers(layers, others) {
                end = self.exchange_updated(role, gather, matrices, at_start);
            }
            if at_start {
                role.gathered.push(end);
            }
        }
    }

    /// Products in the layers of a chunk.
    fn matrices_of_chunk(&self, stage: usize, chunk: usize) -> u64 {
        let is_linear = |operation: &&crate::graph::Operation| {
            matches!(operation.kind, crate::graph::OperationKind::Linear { .. })
        };
        let kinds = self.layout.kinds_of(stage, chunk).iter();
        kinds.map(|kind| self.graph.layer(*kind).iter().filter(is_linear).count() as u64).sum()
    }

    /// Sends updated parameters of so many matrices to all ranks of a group.
    fn exchange_updated(
        &mut self,
        role: &mut RoleBuilder,
        (bytes, group): (Bytes, GroupKind),
        matrices: u64,
        at_start: bool,
    ) -> EventId {
        let (kind, label, count) = match self.scenario.stack.parameter_exchange {
            ParameterExchange::AllGather => (CollectiveKind::AllGather, "dp all-gather", 1),
            ParameterExchange::Broadcast => {
                // Ranks beyond the number of matrices, embedding and head have none to send.
                let count = self.layout.mesh.shard_group.min(matrices + 2);
                (CollectiveKind::Broadcast, "dp broadcast", count.max(1))
            }
        };
        let bytes = bytes / count as f64;
        let work = self.collective(label, Pass::Forward, group, kind, bytes);
        let mut end = EventId::NONE;
        for _ in 0..count {
            if at_start {
                end = role.fork(work, Stream::ParameterGather, None);
            } else {
                role.serial(work, Stream::ParameterGather);
            }
        }
        end
    }
}

/// Ranks that hold the same parameters.
#[derive(Clone, Copy)]
struct Replicas {
    count: u64,
    /// Ranks that one set of shards spans.
    shards: u64,
    /// All of them, those of one set of shards, those of one shard.
    groups: [GroupKind; 3],
}
