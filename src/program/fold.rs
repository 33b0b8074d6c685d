//! Folding in space: ranks with equal programs are simulated once.

use rustc_hash::FxHashMap;

use super::{Group, RankEntry};
use crate::plan::{GroupKind, Layout};

/// Which ranks are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankSelection {
    /// One rank a stage, which stands for all its equals.
    Representatives,
    /// Every rank.
    All,
}

const KINDS: [GroupKind; 12] = [
    GroupKind::Tensor,
    GroupKind::Context,
    GroupKind::Expert,
    GroupKind::ExpertTensor,
    GroupKind::ExpertData,
    GroupKind::ExpertShard,
    GroupKind::ExpertReplicate,
    GroupKind::Data,
    GroupKind::Shard,
    GroupKind::Replicate,
    GroupKind::Embedding,
    GroupKind::Model,
];

/// The simulated ranks, stage by stage and with equal places in the same order, and the
/// communicators among them. A group's members that are not simulated are left out: their equal
/// arrives when they do.
pub fn select_ranks(layout: &Layout, selection: RankSelection) -> (Vec<RankEntry>, Vec<Group>) {
    let mesh = &layout.mesh;
    let (per_stage, multiplicity) = match selection {
        RankSelection::Representatives => (1, mesh.stage_size()),
        RankSelection::All => (mesh.stage_size(), 1),
    };
    let mut ranks: Vec<RankEntry> = (0..mesh.size.pp)
        .flat_map(|stage| (0..per_stage).map(move |place| (stage, place)))
        .map(|(stage, place)| RankEntry {
            rank: mesh.rank_in_stage(stage, place),
            role: stage as usize,
            multiplicity,
            groups: Vec::new(),
        })
        .collect();
    let simulated: FxHashMap<u64, usize> =
        ranks.iter().enumerate().map(|(index, entry)| (entry.rank, index)).collect();
    let mut groups: Vec<Group> = Vec::new();
    for kind in KINDS {
        let mut known: FxHashMap<u64, usize> = FxHashMap::default();
        for entry in &mut ranks {
            let stage = entry.role as u64;
            let edge = stage == 0 || entry.role == layout.head_stage;
            if kind == GroupKind::Embedding && !edge {
                continue;
            }
            let all = mesh.group(kind, entry.rank);
            let group = *known.entry(all[0]).or_insert_with(|| {
                let members = all.iter().filter_map(|rank| simulated.get(rank).copied()).collect();
                groups.push(Group { kind, members });
                groups.len() - 1
            });
            entry.groups.push((kind, group));
        }
    }
    (ranks, groups)
}
