//! The end of a step: what is left of gradient reduction, the gradient norm, the optimizer.

use super::Lowering;
use super::stage::RoleBuilder;
use crate::graph::optimizer_traffic;
use crate::plan::{GroupKind, Held};
use crate::program::{Action, MemoryEffect, Step, Stream, WorkKind};
use crate::units::Bytes;
use crate::work::{CollectiveKind, Kernel, MemoryKernel, Pass};

impl Lowering<'_> {
    /// From the last backward to the end of the step.
    pub(super) fn tail(&mut self, role: &mut RoleBuilder) {
        self.reduce_rest(role);
        self.reduce_replicated(role);
        self.gradient_norm(role);
        self.update(role);
        self.gather_updated_parameters(role, false);
        if self.scenario.stack.synchronise_each_step {
            // The end of the step includes a gather that nothing on the compute stream waits for.
            let event = role.pending.iter().last().unwrap_or(role.compute_end);
            role.steps.push(Step::Synchronize { label: "end of step", event });
        }
    }

    /// Reduces the gradients that did not go beside backward.
    fn reduce_rest(&mut self, role: &mut RoleBuilder) {
        let fully_sharded = self.scenario.plan.zero >= 3 && self.layout.mesh.shard_group > 1;
        if self.has_replicas() && !fully_sharded {
            let (all, reduced) = (role.state.parameters, role.reduced_parameters);
            role.bucket_parameters = Held::default();
            let rest = Held::dense(all.dense - reduced.dense);
            self.reduce_in_buckets(role, rest);
            let rest = Held { dense: 0.0, experts: all.experts - reduced.experts };
            self.reduce_in_buckets(role, rest);
        }
        let last_reduce = role.last_reduce;
        role.pending.add(last_reduce);
    }

    fn reduce_in_buckets(&mut self, role: &mut RoleBuilder, rest: Held) {
        // Rounding of the sum of parts leaves crumbs that are no parameters.
        let parameters = rest.total();
        if parameters <= 0.5 {
            return;
        }
        let stack = &self.scenario.stack;
        let whole =
            stack.gradient_reduce == crate::spec::GradientReduce::Whole || self.reduces_at_end();
        let bucket = (stack.gradient_bucket.value() / stack.gradient_dtype.bytes()).max(1.0);
        let count = if whole { 1.0 } else { (parameters / bucket).ceil().clamp(1.0, 1e4) };
        for _ in 0..count as u64 {
            let part = Held { dense: rest.dense / count, experts: rest.experts / count };
            role.bucket_parameters = part;
            self.reduce_bucket(role, None, part);
        }
    }

    /// Sums gradients that ranks hold whole: norms under sequence parallelism over tensor-parallel
    /// ranks, tied embeddings over the first and the last stage.
    fn reduce_replicated(&mut self, role: &mut RoleBuilder) {
        let width = self.scenario.stack.gradient_dtype.bytes();
        let (pass, kind) = (Pass::Backward, CollectiveKind::AllReduce);
        if self.layout.shard.sequence_parallel {
            let bytes = Bytes::new(role.state.replicated_parameters * width);
            let label = "tp norm gradients";
            let work = self.collective(label, pass, GroupKind::Tensor, kind, bytes);
            role.serial(work, Stream::Tensor);
        }
        let (stage, head) = (role.stage, self.layout.head_stage);
        let model = &self.scenario.model;
        if model.tied_embeddings && head > 0 && (stage == 0 || stage == head) {
            let table = model.head_parameters() / self.scenario.plan.tp as f64;
            let bytes = Bytes::new(table * width);
            let label = "tied embedding gradients";
            let work = self.collective(label, pass, GroupKind::Embedding, kind, bytes);
            role.serial(work, Stream::Model);
        }
    }

    /// The norm of all gradients: a pass over the gradients of this rank, a sum over the ranks
    /// that hold the others, and a look at the result on the host.
    fn gradient_norm(&mut self, role: &mut RoleBuilder) {
        if !self.scenario.training.gradient_clipping {
            return;
        }
        let traffic = optimizer_traffic(&self.scenario.stack, &self.scenario.training).norm;
        // Gradients that were summed on every rank are looked at on every rank.
        let whole = self.reduces_at_end();
        let state = &role.state;
        let parameters = if whole { state.parameters.total() } else { state.updated_parameters };
        let kernel = Kernel::Memory {
            kind: MemoryKernel::GradientNorm,
            read: Bytes::new(parameters * traffic.read),
            write: Bytes::new(parameters * traffic.write),
        };
        self.run_kernel(role, "gradient norm", Pass::Backward, kernel);
        let mesh = &self.layout.mesh;
        let (tp, pp, shards) = (mesh.size.tp, mesh.size.pp, mesh.shard_group);
        let (pass, kind, bytes) = (Pass::Backward, CollectiveKind::AllReduce, Bytes::new(4.0));
        if self.scenario.plan.zero > 0 && shards > 1 && !whole {
            let work = self.collective("norm over shards", pass, GroupKind::Shard, kind, bytes);
            role.serial(work, Stream::GradientReduce);
        }
        if tp * pp > 1 {
            let work = self.collective("norm over model", pass, GroupKind::Model, kind, bytes);
            role.serial(work, Stream::Model);
        }
        if self.scenario.stack.synchronise_each_step {
            let event = role.pending.iter().last().unwrap_or(role.compute_end);
            role.steps.push(Step::Synchronize { label: "gradient norm", event });
        }
    }

    /// Parameter tensors of a rank: four matrices and two norms a layer, their biases, embedding
    /// and head.
    pub(super) fn tensor_count(&self, stage: usize) -> f64 {
        let model = &self.scenario.model;
        let biases = if model.linear_bias { 4 } else { 0 } + if model.norm_bias { 2 } else { 0 };
        let edges = u64::from(stage == 0) + 2 * u64::from(stage == self.layout.head_stage);
        (self.layout.layers_on(stage) * (6 + biases) + edges) as f64
    }

    /// The optimizer's update of the parameters of this rank.
    fn update(&mut self, role: &mut RoleBuilder) {
        let traffic = optimizer_traffic(&self.scenario.stack, &self.scenario.training).update;
        let parameters = role.state.updated_parameters;
        let time = self.scenario.stack.tensor_host_time * self.tensor_count(role.stage);
        role.steps.push(Step::Host { label: "optimizer", time });
        if self.scenario.plan.offload_optimizer {
            // Gradients out and parameters back over the host link; the update itself streams its
            // states through host memory, taken to be as fast as that link.
            let bytes = Bytes::new(parameters * (traffic.read + traffic.write));
            let kind = WorkKind::HostCopy { bytes };
            let work = self.works.intern("offloaded optimizer", Pass::Backward, kind);
            role.compute(Action::Work(work), None, MemoryEffect::default());
            return;
        }
        let share = parameters / f64::from(traffic.launches.max(1));
        let kernel = Kernel::Memory {
            kind: MemoryKernel::Optimizer,
            read: Bytes::new(share * traffic.read),
            write: Bytes::new(share * traffic.write),
        };
        for _ in 0..traffic.launches {
            self.run_kernel(role, "optimizer", Pass::Backward, kernel);
        }
    }
}
