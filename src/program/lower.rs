//! From a model graph and a plan to a program.

mod data_parallel;
mod experts;
mod layer;
mod linear;
mod memory;
mod narrow;
mod pipeline;
mod selective;
mod stage;
mod tail;
mod works;

use rustc_hash::FxHashMap;

use super::{Block, BlockId, Program, RankSelection, select_ranks};
use crate::graph::Graph;
use crate::plan::{GroupKind, Layout, stage_states};
use crate::spec::{LayerKind, Recompute, Scenario, SelectiveRecompute};
use crate::units::Bytes;
use crate::work::{Collective, CollectiveKind};
use works::WorkTable;

/// Lowers a scenario: every stage becomes a role, the selected ranks play them.
pub fn lower(scenario: &Scenario, layout: &Layout, ranks: RankSelection) -> Program {
    let graph = Graph::build(&scenario.model, &scenario.stack, &scenario.training);
    let states = stage_states(scenario, layout);
    let mut lowering = Lowering {
        scenario,
        layout,
        graph: &graph,
        works: WorkTable::default(),
        blocks: Vec::new(),
        known_blocks: FxHashMap::default(),
    };
    let roles =
        states.iter().enumerate().map(|(stage, state)| lowering.role(stage, state)).collect();
    let (ranks, groups) = select_ranks(layout, ranks);
    Program { works: lowering.works.finish(), blocks: lowering.blocks, roles, ranks, groups }
}

/// Names a block by what is in it, so that equal ones are built once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BlockKey {
    Layer { pass: crate::work::Pass, recompute: bool, kind: LayerKind },
    Embedding { pass: crate::work::Pass },
    Head { pass: crate::work::Pass },
    Chunk { pass: crate::work::Pass, contents: ChunkContents },
}

/// What a chunk of the model holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ChunkContents {
    embedding: bool,
    /// The first layer of the model with which layers are of these kinds in this order.
    first_layer: u64,
    layers: u64,
    /// The first of them that are computed again.
    recomputed_layers: u64,
    head: bool,
}

/// State of the lowering.
struct Lowering<'a> {
    scenario: &'a Scenario,
    layout: &'a Layout,
    graph: &'a Graph,
    works: WorkTable,
    blocks: Vec<Block>,
    known_blocks: FxHashMap<BlockKey, BlockId>,
}

impl Lowering<'_> {
    /// Bytes of an activation value.
    fn width(&self) -> f64 {
        self.layout.shard.activation.bytes()
    }

    fn add_block(&mut self, key: BlockKey, block: Block) -> BlockId {
        let id = BlockId(self.blocks.len() as u32);
        self.blocks.push(block);
        self.known_blocks.insert(key, id);
        id
    }

    fn collective(
        &mut self,
        label: &'static str,
        pass: crate::work::Pass,
        group: GroupKind,
        kind: CollectiveKind,
        bytes: Bytes,
    ) -> super::WorkId {
        let kind = super::WorkKind::Collective { group, collective: Collective { kind, bytes } };
        self.works.intern(label, pass, kind)
    }

    fn layers_of(&self, stage: usize, chunk: u32) -> u64 {
        self.layout.stage_layers[stage][chunk as usize]
    }

    /// What the chunk of a stage holds. Recomputation covers the stage's first layers.
    fn contents(&self, stage: usize, chunk: u32) -> ChunkContents {
        let plan = &self.scenario.plan;
        let before: u64 = (0..chunk).map(|earlier| self.layers_of(stage, earlier)).sum();
        let layers = self.layers_of(stage, chunk);
        let first = self.layout.first_layer(stage, chunk as usize);
        let alternates =
            self.scenario.stack.selective_recompute == SelectiveRecompute::AlternateLayers;
        let covered = match plan.recompute {
            Recompute::None => 0,
            Recompute::Selective if alternates => layers.div_ceil(2),
            _ => {
                let covered = self.scenario.recompute_layers().unwrap_or(u64::MAX);
                covered.saturating_sub(before).min(layers)
            }
        };
        ChunkContents {
            embedding: stage == 0 && chunk == 0,
            first_layer: self.scenario.model.first_like(first),
            layers,
            recomputed_layers: covered,
            head: stage == self.layout.head_stage && u64::from(chunk) + 1 == plan.virtual_stages,
        }
    }
}
