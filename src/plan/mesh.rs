//! Ranks and their coordinates on the axes of the plan, and the groups that talk.

use crate::spec::MeshAxis;
use crate::work::Axis;

/// Where a rank stands on each axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coordinates {
    /// Tensor parallelism.
    pub tp: u64,
    /// Context parallelism.
    pub cp: u64,
    /// Data parallelism.
    pub dp: u64,
    /// Pipeline stage.
    pub pp: u64,
}

/// A kind of group of ranks that communicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// Tensor-parallel ranks.
    Tensor,
    /// Context-parallel ranks.
    Context,
    /// Ranks that experts are spread over.
    Expert,
    /// Ranks that each expert is cut over.
    ExpertTensor,
    /// Replicas of an expert.
    ExpertData,
    /// Ranks over which experts and their optimizer states are sharded.
    ExpertShard,
    /// Ranks that hold the same shard of experts.
    ExpertReplicate,
    /// Replicas of a parameter: data- and context-parallel ranks.
    Data,
    /// Ranks over which parameters and optimizer states are sharded.
    Shard,
    /// Ranks that hold the same shard.
    Replicate,
    /// The stages of embedding and output projection, for tied embeddings.
    Embedding,
    /// All stages and tensor-parallel ranks of a replica: for the gradient norm.
    Model,
    /// A rank and its peer on another stage.
    Transfer {
        /// Sending stage.
        from: u32,
        /// Receiving stage.
        to: u32,
    },
    /// Ranks that communicate in a recorded trace; no plan says why.
    Recorded,
}

impl GroupKind {
    /// The axis under which reports list its traffic.
    pub const fn axis(self) -> Axis {
        match self {
            Self::Tensor | Self::ExpertTensor => Axis::Tp,
            Self::Context => Axis::Cp,
            Self::Expert => Axis::Ep,
            Self::Data
            | Self::Shard
            | Self::Replicate
            | Self::ExpertData
            | Self::ExpertShard
            | Self::ExpertReplicate => Axis::Dp,
            Self::Embedding | Self::Model | Self::Transfer { .. } => Axis::Pp,
            Self::Recorded => Axis::Unstated,
        }
    }
}

/// The ranks of a job: sizes of the axes and the order in which ranks run through them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Sizes of the axes.
    pub size: Coordinates,
    /// Data- and context-parallel ranks that one set of shards spans.
    pub shard_group: u64,
    /// How the ranks of a stage are dealt to experts.
    pub experts: ExpertMesh,
    /// The stage of the output projection.
    head_stage: u64,
    strides: Coordinates,
    /// Strides of the places of ranks in their stage, `pp` left out.
    places: Coordinates,
}

/// How the ranks of a stage are dealt to experts: `etp` fastest, then `ep`, then replicas, in the
/// order of their ranks (Megatron-core, `parallel_state.py`: expert groups have an order of their
/// own over the same ranks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertMesh {
    /// Ranks that each expert is cut over.
    pub etp: u64,
    /// Ranks that experts are spread over.
    pub ep: u64,
    /// Replicas of an expert.
    pub replicas: u64,
    /// Replicas that one set of shards spans.
    pub shard_group: u64,
}

impl Default for ExpertMesh {
    /// Of a model without experts.
    fn default() -> Self {
        Self { etp: 1, ep: 1, replicas: 1, shard_group: 1 }
    }
}

impl Mesh {
    /// A mesh; `order` lists the axes fastest first, each once.
    pub fn new(size: Coordinates, order: &[MeshAxis], shard_group: u64) -> Self {
        let strides = self::strides(size, order);
        let places = self::strides(Coordinates { pp: 1, ..size }, order);
        let (experts, head_stage) = (ExpertMesh::default(), size.pp.saturating_sub(1));
        Self { size, shard_group, experts, head_stage, strides, places }
    }

    /// With the ranks of a stage dealt to experts.
    #[must_use]
    pub fn with_experts(self, experts: ExpertMesh) -> Self {
        Self { experts, ..self }
    }

    /// With the output projection on a stage that is not the last.
    #[must_use]
    pub fn with_head_on(self, stage: u64) -> Self {
        Self { head_stage: stage, ..self }
    }

    /// Ranks in all.
    pub fn world_size(&self) -> u64 {
        self.size.tp * self.size.cp * self.size.dp * self.size.pp
    }

    /// Ranks of one stage.
    pub fn stage_size(&self) -> u64 {
        self.size.tp * self.size.cp * self.size.dp
    }

    /// The rank at given coordinates.
    pub fn rank(&self, at: Coordinates) -> u64 {
        at.tp * self.strides.tp
            + at.cp * self.strides.cp
            + at.dp * self.strides.dp
            + at.pp * self.strides.pp
    }

    /// The coordinates of a rank.
    pub fn coordinates(&self, rank: u64) -> Coordinates {
        let on = |stride: u64, extent: u64| rank / stride % extent;
        Coordinates {
            tp: on(self.strides.tp, self.size.tp),
            cp: on(self.strides.cp, self.size.cp),
            dp: on(self.strides.dp, self.size.dp),
            pp: on(self.strides.pp, self.size.pp),
        }
    }

    /// The ranks of a rank's group of a kind, ascending; for a transfer, sender then receiver.
    pub fn group(&self, kind: GroupKind, rank: u64) -> Vec<u64> {
        let at = self.coordinates(rank);
        let mut members: Vec<u64> = match kind {
            GroupKind::Tensor => {
                (0..self.size.tp).map(|tp| self.rank(Coordinates { tp, ..at })).collect()
            }
            GroupKind::Context => {
                (0..self.size.cp).map(|cp| self.rank(Coordinates { cp, ..at })).collect()
            }
            GroupKind::Data => self.replicas().map(|index| self.replica(at, index)).collect(),
            GroupKind::Shard => {
                let first = self.replica_index(at) / self.shard_group * self.shard_group;
                (first..first + self.shard_group).map(|index| self.replica(at, index)).collect()
            }
            GroupKind::Replicate => {
                let offset = self.replica_index(at) % self.shard_group;
                self.replicas()
                    .filter(|index| index % self.shard_group == offset)
                    .map(|index| self.replica(at, index))
                    .collect()
            }
            GroupKind::Expert
            | GroupKind::ExpertTensor
            | GroupKind::ExpertData
            | GroupKind::ExpertShard
            | GroupKind::ExpertReplicate => self.expert_group(kind, at),
            GroupKind::Embedding => {
                vec![
                    self.rank(Coordinates { pp: 0, ..at }),
                    self.rank(Coordinates { pp: self.head_stage, ..at }),
                ]
            }
            GroupKind::Model => (0..self.size.pp)
                .flat_map(|pp| (0..self.size.tp).map(move |tp| (pp, tp)))
                .map(|(pp, tp)| self.rank(Coordinates { pp, tp, ..at }))
                .collect(),
            GroupKind::Transfer { from, to } => {
                let on = |stage: u32| self.rank(Coordinates { pp: u64::from(stage), ..at });
                return vec![on(from), on(to)];
            }
            // No plan has such groups.
            GroupKind::Recorded => vec![rank],
        };
        members.sort_unstable();
        members.dedup();
        members
    }

    /// All groups of a kind that talk at the same time as that of `rank`, its own first.
    pub fn concurrent_groups(&self, kind: GroupKind, rank: u64) -> Vec<Vec<u64>> {
        let own = self.group(kind, rank);
        let stage = self.coordinates(rank).pp;
        let mut covered: rustc_hash::FxHashSet<u64> = own.iter().copied().collect();
        let mut groups = vec![own];
        for index in 0..self.stage_size() {
            let rank = self.rank_in_stage(stage, index);
            if !covered.contains(&rank) {
                let group = self.group(kind, rank);
                covered.extend(&group);
                groups.push(group);
            }
        }
        groups
    }

    /// The `index`-th rank of a stage: tp fastest, then cp, then dp.
    pub fn rank_in_stage(&self, stage: u64, index: u64) -> u64 {
        self.rank(Coordinates {
            tp: index % self.size.tp,
            cp: index / self.size.tp % self.size.cp,
            dp: index / (self.size.tp * self.size.cp),
            pp: stage,
        })
    }

    /// Place of a rank among those of its stage, in their order.
    fn place(&self, at: Coordinates) -> u64 {
        at.tp * self.places.tp + at.cp * self.places.cp + at.dp * self.places.dp
    }

    /// The rank at a place of a stage.
    fn at_place(&self, stage: u64, place: u64) -> u64 {
        let on = |stride: u64, extent: u64| place / stride.max(1) % extent;
        self.rank(Coordinates {
            tp: on(self.places.tp, self.size.tp),
            cp: on(self.places.cp, self.size.cp),
            dp: on(self.places.dp, self.size.dp),
            pp: stage,
        })
    }

    fn expert_group(&self, kind: GroupKind, at: Coordinates) -> Vec<u64> {
        let ExpertMesh { etp, ep, replicas, shard_group } = self.experts;
        let place = self.place(at);
        let (tensor, expert, replica) = (place % etp, place / etp % ep, place / (etp * ep));
        let rank = |tensor: u64, expert: u64, replica: u64| {
            self.at_place(at.pp, (replica * ep + expert) * etp + tensor)
        };
        let first = replica / shard_group * shard_group;
        match kind {
            GroupKind::ExpertTensor => (0..etp).map(|it| rank(it, expert, replica)).collect(),
            GroupKind::Expert => (0..ep).map(|it| rank(tensor, it, replica)).collect(),
            GroupKind::ExpertShard => {
                (first..first + shard_group).map(|it| rank(tensor, expert, it)).collect()
            }
            GroupKind::ExpertReplicate => (0..replicas)
                .filter(|it| it % shard_group == replica % shard_group)
                .map(|it| rank(tensor, expert, it))
                .collect(),
            _ => (0..replicas).map(|it| rank(tensor, expert, it)).collect(),
        }
    }

    fn replicas(&self) -> std::ops::Range<u64> {
        0..self.size.dp * self.size.cp
    }

    /// Position among the replicas of a parameter: cp fastest.
    fn replica_index(&self, at: Coordinates) -> u64 {
        at.dp * self.size.cp + at.cp
    }

    fn replica(&self, at: Coordinates, index: u64) -> u64 {
        self.rank(Coordinates { cp: index % self.size.cp, dp: index / self.size.cp, ..at })
    }
}

/// Distance of neighbours on each axis, `order` fastest first.
fn strides(size: Coordinates, order: &[MeshAxis]) -> Coordinates {
    let mut strides = Coordinates::default();
    let mut stride = 1;
    for axis in order {
        let (slot, extent) = match axis {
            MeshAxis::Tp => (&mut strides.tp, size.tp),
            MeshAxis::Cp => (&mut strides.cp, size.cp),
            MeshAxis::Dp => (&mut strides.dp, size.dp),
            MeshAxis::Pp => (&mut strides.pp, size.pp),
        };
        *slot = stride;
        stride *= extent;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORDER: [MeshAxis; 4] = [MeshAxis::Tp, MeshAxis::Cp, MeshAxis::Dp, MeshAxis::Pp];

    #[test]
    fn tensor_parallel_ranks_are_neighbours_and_stages_are_far() {
        let mesh = Mesh::new(Coordinates { tp: 2, cp: 1, dp: 2, pp: 2 }, &ORDER, 2);
        assert_eq!(mesh.group(GroupKind::Tensor, 4), [4, 5]);
        assert_eq!(mesh.group(GroupKind::Data, 5), [5, 7]);
        assert_eq!(mesh.group(GroupKind::Embedding, 1), [1, 5]);
        assert_eq!(mesh.group(GroupKind::Transfer { from: 1, to: 0 }, 3), [7, 3]);
    }

    /// Two ranks of tp, four replicas, experts spread over four ranks of a stage and whole: they
    /// take ranks 0 to 3, so replicas of an expert are four ranks apart.
    #[test]
    fn experts_are_dealt_over_the_ranks_of_a_stage_in_their_order() {
        let mesh = Mesh::new(Coordinates { tp: 2, cp: 1, dp: 4, pp: 2 }, &ORDER, 4);
        let experts = ExpertMesh { etp: 1, ep: 4, replicas: 2, shard_group: 2 };
        let mesh = mesh.with_experts(experts);
        assert_eq!(mesh.group(GroupKind::Expert, 9), [8, 9, 10, 11]);
        assert_eq!(mesh.group(GroupKind::ExpertData, 9), [9, 13]);
        assert_eq!(mesh.group(GroupKind::ExpertTensor, 9), [9]);
        let cut = ExpertMesh { etp: 2, ep: 2, replicas: 2, shard_group: 1 };
        let mesh = mesh.with_experts(cut);
        assert_eq!(mesh.group(GroupKind::Expert, 1), [1, 3]);
        assert_eq!(mesh.group(GroupKind::ExpertTensor, 1), [0, 1]);
        assert_eq!(mesh.group(GroupKind::ExpertShard, 1), [1]);
        assert_eq!(mesh.group(GroupKind::ExpertReplicate, 1), [1, 5]);
    }

    proptest! {
        #[test]
        fn every_kind_of_group_partitions_the_stage(
            tp in 1u64..4, cp in 1u64..4, dp in 1u64..5, pp in 1u64..4, rotate in 0usize..4,
        ) {
            let mut order = ORDER;
            order.rotate_left(rotate);
            let experts = ExpertMesh { etp: tp, ep: cp, replicas: dp, shard_group: dp };
            let mesh = Mesh::new(Coordinates { tp, cp, dp, pp }, &order, cp).with_experts(experts);
            for rank in 0..mesh.world_size() {
                prop_assert_eq!(mesh.rank(mesh.coordinates(rank)), rank);
            }
            use GroupKind::{
                Data, Expert, ExpertData, ExpertShard, ExpertTensor, Replicate, Shard, Tensor,
            };
            let experts = [Expert, ExpertTensor, ExpertData, ExpertShard];
            for kind in [Tensor, Data, Shard, Replicate].into_iter().chain(experts) {
                let mut members: Vec<u64> =
                    mesh.concurrent_groups(kind, 0).into_iter().flatten().collect();
                members.sort_unstable();
                let mut stage: Vec<u64> =
                    (0..mesh.stage_size()).map(|index| mesh.rank_in_stage(0, index)).collect();
                stage.sort_unstable();
                prop_assert_eq!(members, stage);
            }
        }
    }
}
