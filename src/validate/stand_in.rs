//! What stands in for a stack or a cluster that nobody described: the nearest that is known. Who
//! reads a run is told.

use crate::calibrate::Hardware;
use crate::spec::{Cluster, DataSources, Kind, load_part};

/// The stack of a name; else the release of the same software before it, or the first after it.
/// Names are words joined by `-`, the last of them the release.
pub(super) fn stack_for(sources: &DataSources, name: &str) -> Option<String> {
    let names = sources.names(Kind::Stack);
    if names.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    let mut family = name;
    while let Some((shorter, _)) = family.rsplit_once('-') {
        family = shorter;
        let is_kin = |known: &&String| {
            known.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let mut kin: Vec<&String> = names.iter().filter(is_kin).collect();
        kin.sort();
        let before = kin.iter().rev().find(|known| known.as_str() <= name);
        if let Some(found) = before.or(kin.first()) {
            return Some((*found).clone());
        }
    }
    None
}

/// The cluster of a name; else one with GPUs of the same architecture, the one that shares most
/// words of the name, then the one whose GPUs are most alike.
pub(super) fn cluster_for(
    sources: &DataSources,
    hardware: &Hardware,
    name: &str,
    gpu: &str,
) -> Option<String> {
    let names = sources.names(Kind::Cluster);
    if names.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    let (_, gpu) = hardware.find(gpu)?;
    let words: Vec<&str> = name.split('-').collect();
    let mut best: Option<(usize, f64, String)> = None;
    for known in names {
        let Ok(cluster) = load_part::<Cluster>(sources, Kind::Cluster, &known) else { continue };
        if cluster.gpu.architecture != gpu.architecture || cluster.nics_per_node == 0 {
            continue;
        }
        let shared = known.split('-').filter(|word| words.contains(word)).count();
        let distance = gpu.distance(&cluster.gpu);
        let is_better = best.as_ref().is_none_or(|(most, least, _)| {
            shared > *most || (shared == *most && distance < *least)
        });
        if is_better {
            best = Some((shared, distance, known));
        }
    }
    best.map(|(_, _, known)| known)
}
