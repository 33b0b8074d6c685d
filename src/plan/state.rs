//! What a rank holds through the whole step: parameters, gradients, optimizer states.

use super::Layout;
use crate::spec::{LayerKind, LayerParameters, Optimizer, Scenario};
use crate::units::Bytes;

/// Parameters on a rank, by what replicates them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    /// Outside of routed experts: on all data- and context-parallel ranks.
    pub dense: f64,
    /// Of routed experts: on the ranks that expert parallelism leaves.
    pub experts: f64,
}

impl Held {
    /// Parameters outside of routed experts.
    pub const fn dense(parameters: f64) -> Self {
        Self { dense: parameters, experts: 0.0 }
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        self.dense + self.experts
    }
}

impl std::ops::Add for Held {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { dense: self.dense + other.dense, experts: self.experts + other.experts }
    }
}

impl std::iter::Sum for Held {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| sum + part)
    }
}

/// Parameters and states of a rank of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageState {
    /// Parameters of a layer on a rank before data-parallel sharding: without experts, and with.
    layers: [Held; 2],
    /// Parameters of all layers on a rank before data-parallel sharding.
    pub layer_parameters: Held,
    /// Parameters of the embedding on a rank (zero where the stage has none).
    pub embedding_parameters: f64,
    /// Parameters of final norm and output projection on a rank (zero where the stage has none).
    pub head_parameters: f64,
    /// All parameters on a rank before data-parallel sharding.
    pub parameters: Held,
    /// Parameters that the optimizer of this rank updates.
    pub updated_parameters: f64,
    /// Parameters of norms, biases and routers, whole on each tensor-parallel rank.
    pub replicated_parameters: f64,
    /// Ranks over which parameters and their states are sharded.
    shards: Held,
    /// Stored parameters.
    pub weights: Bytes,
    /// Gradients.
    pub gradients: Bytes,
    /// Main parameters and moments on the device.
    pub optimizer: Bytes,
}

impl StageState {
    /// Parameters of a layer of a kind on a rank before data-parallel sharding.
    pub const fn layer(&self, kind: LayerKind) -> Held {
        self.layers[kind.experts as usize]
    }

    /// How many of some parameters of a rank are left when they are sharded.
    pub fn sharded(&self, parameters: Held) -> f64 {
        parameters.dense / self.shards.dense + parameters.experts / self.shards.experts
    }
}

/// The state of a rank of each stage.
///
/// Matrices divide by tp, experts by ep and etp; norms, biases of row-parallel layers and routers
/// do not. ZeRO 1, 2, 3 divide optimizer states, gradients and parameters over the shard group
/// (Rajbhandari et al. 2020, figure 1), those of experts over the ranks that expert parallelism
/// leaves of it.
pub fn stage_states(scenario: &Scenario, layout: &Layout) -> Vec<StageState> {
    let stages = 0..layout.stage_layers.len();
    stages.map(|stage| stage_state(scenario, layout, stage)).collect()
}

/// Parameters of a layer on a rank.
fn layer_on_rank(scenario: &Scenario, kind: LayerKind) -> (Held, f64) {
    let plan = &scenario.plan;
    let LayerParameters { cut, whole, experts } = scenario.model.parameters_of_kind(kind);
    let ranks = (plan.ep * plan.expert_tensor_parallel()) as f64;
    (Held { dense: cut / plan.tp as f64 + whole, experts: experts / ranks }, whole)
}

fn stage_state(scenario: &Scenario, layout: &Layout, stage: usize) -> StageState {
    let (model, stack, plan) = (&scenario.model, &scenario.stack, &scenario.plan);
    let tp = plan.tp as f64;
    let layers = [false, true]
        .map(|experts| layer_on_rank(scenario, LayerKind { experts, window: false }).0);
    let embedding = if stage == 0 { model.embedding_parameters() / tp } else { 0.0 };
    // A tied table is held a second time by the stage of the output projection.
    let holds_head = stage == layout.head_stage && !(model.tied_embeddings && stage == 0);
    let head = if stage == layout.head_stage { model.norm_parameters() } else { 0.0 }
        + if holds_head { model.head_parameters() / tp } else { 0.0 };
    let on_stage: Vec<(Held, f64)> =
        layout.kinds_on(stage).map(|kind| layer_on_rank(scenario, kind)).collect();
    let layer_parameters: Held = on_stage.iter().map(|(held, _)| *held).sum();
    let parameters = layer_parameters + Held::dense(embedding + head);

    let mesh = &layout.mesh;
    let shards = Held { dense: mesh.shard_group as f64, experts: mesh.experts.shard_group as f64 };
    let state = StageState {
        layers,
        layer_parameters,
        embedding_parameters: embedding,
        head_parameters: head,
        parameters,
        replicated_parameters: on_stage.iter().map(|(_, whole)| whole).sum(),
        shards,
        ..StageState::default()
    };
    let by = |level: u64, held: Held| {
        if plan.zero >= level { state.sharded(held) } else { held.total() }
    };
    let compute = scenario.training.precision.activation();
    let stored = stack.parameter_dtype.unwrap_or(compute).bytes();
    // Quantised weights, and their transposes for backward, are kept beside the originals.
    let linear = scenario.training.precision.linear();
    let quantised = if linear.is_quantised() { 2.0 * linear.bytes() } else { 0.0 };
    let moments = match scenario.training.optimizer {
        Optimizer::Adam => 2.0,
        Optimizer::Sgd => 1.0,
    } * stack.moment_dtype.bytes();
    let main = stack.main_parameter_dtype.map_or(0.0, |dtype| dtype.bytes());
    let updated_parameters = by(1, parameters);
    StageState {
        updated_parameters,
        weights: Bytes::new(by(3, parameters) * stored + by(3, layer_parameters) * quantised),
        gradients: Bytes::new(by(2, parameters) * stack.gradient_dtype.bytes()),
        optimizer: if plan.offload_optimizer {
            Bytes::ZERO
        } else {
            Bytes::new(updated_parameters * (main + moments))
        },
        ..state
    }
}
