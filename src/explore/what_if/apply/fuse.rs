//! Neighbours on a stream become one kernel.

use std::collections::BTreeSet;

use super::kernels::streams;
use crate::calibrate::ShapedKernels;
use crate::program::Waits;
use crate::replay::Prepared;
use crate::units::{Bytes, Seconds};
use crate::work::Kernel;

/// What is assumed where traffic stays.
pub(super) const KEPT: &str = "neighbours on a stream can be fused whatever they compute; results \
    still go through memory";
/// What is assumed where it does not.
pub(super) const SAVED: &str = "neighbours on a stream can be fused whatever they compute; a pass \
    of known shapes takes time by its bytes and reads what the one before wrote; others stay";

/// Gives the first of each run of selected neighbours on a stream the time of all, and tells the
/// others, which are to be removed. What waits for another stream begins a new run.
pub(super) fn fuse(
    prepared: &mut Prepared<'_>,
    selected: &BTreeSet<u32>,
    factor: f64,
    saves_traffic: bool,
) -> BTreeSet<u32> {
    let shaped = saves_traffic.then(|| ShapedKernels::of(prepared.recording));
    let mut gone = BTreeSet::new();
    for role in 0..prepared.program.roles.len() {
        for (_, launches) in streams(prepared, role) {
            let mut runs: Vec<Vec<u32>> = vec![Vec::new()];
            for (&work, launch) in &launches {
                let waits = launch.waits != Waits::NONE;
                if !selected.contains(&work) || waits {
                    runs.push(Vec::new());
                }
                if selected.contains(&work)
                    && let Some(run) = runs.last_mut()
                {
                    run.push(work);
                }
            }
            for run in runs.iter().filter(|run| run.len() > 1) {
                let costs = || run.iter().map(|&work| &prepared.costs.works[work as usize]);
                let sum: Seconds = costs().map(|cost| cost.time).sum();
                let beside: Seconds = costs().map(|cost| cost.time * cost.slowdown).sum();
                let slowdown = if sum > Seconds::ZERO { beside / sum } else { 1.0 };
                let saved = shaped.as_ref().map_or(Seconds::ZERO, |it| saved(prepared, it, run));
                let fused = &mut prepared.costs.works[run[0] as usize];
                (fused.time, fused.slowdown) = ((sum - saved) * factor, slowdown);
                gone.extend(&run[1..]);
            }
        }
    }
    gone
}

/// Time of neighbours for what one writes and the next reads, in proportion to their bytes.
fn saved(prepared: &Prepared<'_>, shaped: &ShapedKernels<'_>, run: &[u32]) -> Seconds {
    let pass = |&work: &u32| {
        let span = prepared.work_span[work as usize]?;
        let kernels = shaped.kernels(span);
        let Some(&Kernel::Memory { read, write, .. }) = kernels.first() else { return None };
        Some((read, write, prepared.costs.works[work as usize].time))
    };
    let passes: Vec<Option<(Bytes, Bytes, Seconds)>> = run.iter().map(pass).collect();
    let pairs = passes.windows(2).filter_map(|pair| Some((pair[0]?, pair[1]?)));
    pairs
        .map(|(one, next)| {
            let handed = one.1.min(next.0);
            one.2 * (handed / (one.0 + one.1)) + next.2 * (handed / (next.0 + next.1))
        })
        .sum()
}
