//! Steps of two timelines side by side.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::profile::{steps as profiles, works};
use crate::timeline::Timeline;

/// A step of two timelines, or of one that the other does not mark.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepDifference {
    /// Its number in the first.
    pub before_step: Option<u64>,
    /// Its number in the second.
    pub after_step: Option<u64>,
    /// From its first work to that of the next step, in microseconds; mean over ranks.
    pub before_us: Option<f64>,
    /// The same in the second.
    pub after_us: Option<f64>,
    /// What the second takes more, where both mark it.
    pub difference_us: Option<f64>,
}

/// Steps matched by number where they have any in common, else in order.
pub(super) fn steps(before: &Timeline, after: &Timeline) -> Vec<StepDifference> {
    let (before, after) = (periods(before), periods(after));
    let shared = before.keys().any(|number| after.contains_key(number));
    let mut pairs: Vec<(Option<u64>, Option<u64>)> = Vec::new();
    if shared {
        let numbers: BTreeSet<u64> = before.keys().chain(after.keys()).copied().collect();
        let of = |map: &BTreeMap<u64, f64>, number| map.contains_key(&number).then_some(number);
        pairs.extend(numbers.into_iter().map(|it| (of(&before, it), of(&after, it))));
    } else {
        let [mut old, mut new] = [&before, &after].map(|map| map.keys().copied());
        pairs.extend((0..before.len().max(after.len())).map(|_| (old.next(), new.next())));
    }
    // Those that both mark first.
    pairs.sort_by_key(|pair| pair.0.is_none() || pair.1.is_none());
    let step = |(old, new): (Option<u64>, Option<u64>)| {
        let before_us = old.and_then(|number| before.get(&number).copied());
        let after_us = new.and_then(|number| after.get(&number).copied());
        let difference_us = before_us.zip(after_us).map(|(before, after)| after - before);
        StepDifference { before_step: old, after_step: new, before_us, after_us, difference_us }
    };
    pairs.into_iter().map(step).collect()
}

/// Mean period of each step over the ranks that have work of it.
fn periods(timeline: &Timeline) -> BTreeMap<u64, f64> {
    let mut sums: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
    for work in works(timeline) {
        for step in profiles(&work).iter().filter(|step| step.gpu_events > 0) {
            let sum = sums.entry(step.step).or_default();
            sum.0 += step.period.us();
            sum.1 += 1;
        }
    }
    sums.into_iter().map(|(number, (sum, count))| (number, sum / f64::from(count))).collect()
}
