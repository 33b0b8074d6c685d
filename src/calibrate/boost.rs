//! Learning of oblivious trees by gradient boosting.
//!
//! Friedman 2001 with squared loss on clipped residuals; trees whose levels share a question as in
//! Prokhorenkova et al. 2018. Everything is a sum over rows in their order, so the same rows give
//! the same trees.

use crate::cost::{DEPTH_MAX, FEATURES_MAX, Features, LEAF_UNIT, Split, Tree, Trees};

/// How trees are grown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Trees at most.
    pub trees: usize,
    /// Questions a tree, at most [`DEPTH_MAX`].
    pub depth: usize,
    /// Share of the mean residual of a leaf that is taken.
    pub rate: f64,
    /// Rows that a leaf must hold for its mean to count by half.
    pub ridge: f64,
    /// Residuals beyond this pull no more than it.
    pub clip: f64,
}

/// Thresholds tried a feature at most.
const BINS: usize = 64;

/// A feature's thresholds, and the bin of each row.
struct Binned {
    thresholds: Vec<f32>,
    bins: Vec<u8>,
}

/// Trees that predict `targets` from `features`; `feature_count` of them are looked at.
pub(super) fn grow(
    features: &[Features],
    targets: &[f64],
    feature_count: usize,
    growth: &Growth,
) -> Trees {
    assert_eq!(features.len(), targets.len(), "a target a row");
    assert!(growth.depth <= DEPTH_MAX && feature_count <= FEATURES_MAX);
    let binned: Vec<Binned> = (0..feature_count).map(|feature| bin(features, feature)).collect();
    let mut residuals = targets.to_vec();
    let mut trees = Vec::new();
    for _ in 0..growth.trees {
        let (tree, leaf_of) = tree(&binned, &residuals, growth);
        if tree.leaves.iter().all(|leaf| *leaf == 0) {
            break;
        }
        for (residual, leaf) in residuals.iter_mut().zip(&leaf_of) {
            *residual -= f64::from(tree.leaves[usize::from(*leaf)]) * f64::from(LEAF_UNIT);
        }
        trees.push(tree);
    }
    Trees::new(trees)
}

/// Thresholds half way between neighbouring values, at equal numbers of rows.
fn bin(features: &[Features], feature: usize) -> Binned {
    let mut values: Vec<f32> = features.iter().map(|row| row[feature]).collect();
    values.sort_by(f32::total_cmp);
    let mut thresholds: Vec<f32> = Vec::new();
    let count = values.len();
    for cut in 1..BINS.min(count.max(1)) {
        let place = cut * count / BINS.min(count);
        // The first pair of different values from the cut on.
        let Some(step) = values[place - 1..].windows(2).position(|pair| pair[0] < pair[1]) else {
            continue;
        };
        let (low, high) = (values[place - 1 + step], values[place + step]);
        let threshold = rounded(low, high);
        if thresholds.last().is_none_or(|last| *last < threshold) {
            thresholds.push(threshold);
        }
    }
    let bins = features
        .iter()
        .map(|row| thresholds.partition_point(|threshold| row[feature] > *threshold) as u8)
        .collect();
    Binned { thresholds, bins }
}

/// A short number from `low` up to, not including, `high`, so that files stay short.
fn rounded(low: f32, high: f32) -> f32 {
    let middle = f64::from(low).midpoint(f64::from(high));
    for digits in 0..9 {
        let scale = 10_f64.powi(digits);
        let short = ((middle * scale).round() / scale) as f32;
        if short >= low && short < high {
            return short;
        }
    }
    low
}

/// Sum and count of residuals.
#[derive(Clone, Copy, Default)]
struct Sum {
    total: f64,
    count: f64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.total += other.total;
        self.count += other.count;
    }

    fn less(self, other: Self) -> Self {
        Self { total: self.total - other.total, count: self.count - other.count }
    }

    /// What a leaf of these rows takes off the squared error, about.
    fn gain(self, ridge: f64) -> f64 {
        self.total * self.total / (self.count + ridge)
    }
}

/// The best tree for some residuals, and the leaf of each row.
fn tree(binned: &[Binned], residuals: &[f64], growth: &Growth) -> (Tree, Vec<u16>) {
    let pulls: Vec<f64> = residuals.iter().map(|r| r.clamp(-growth.clip, growth.clip)).collect();
    let mut leaf_of = vec![0_u16; residuals.len()];
    let mut splits: Vec<Split> = Vec::new();
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for _ in 0..growth.depth {
        let leaves = 1 << splits.len();
        let best = (0..binned.len())
            .filter_map(|feature| {
                let (gain, bin) =
                    best_cut(&binned[feature], &pulls, &leaf_of, leaves, growth.ridge)?;
                Some((gain, feature, bin))
            })
            .fold(None, |best: Option<(f64, usize, usize)>, found| match best {
                Some(best) if best.0 >= found.0 => Some(best),
                _ => Some(found),
            });
        let Some((_, feature, bin)) = best.filter(|best| !chosen.contains(&(best.1, best.2)))
        else {
            break;
        };
        chosen.push((feature, bin));
        let bit = splits.len();
        splits.push(Split { feature: feature as u8, threshold: binned[feature].thresholds[bin] });
        for (leaf, row_bin) in leaf_of.iter_mut().zip(&binned[feature].bins) {
            *leaf |= u16::from(usize::from(*row_bin) > bin) << bit;
        }
    }
    let mut sums = vec![Sum::default(); 1 << splits.len()];
    for (leaf, pull) in leaf_of.iter().zip(&pulls) {
        sums[usize::from(*leaf)].add(Sum { total: *pull, count: 1.0 });
    }
    let value = |sum: &Sum| growth.rate * sum.total / (sum.count + growth.ridge);
    let leaves = sums.iter().map(|sum| (value(sum) / f64::from(LEAF_UNIT)).round() as i16);
    (Tree { splits, leaves: leaves.collect() }, leaf_of)
}

/// The bin after which a feature is best cut in all leaves at once, and what that gains.
fn best_cut(
    binned: &Binned,
    pulls: &[f64],
    leaf_of: &[u16],
    leaves: usize,
    ridge: f64,
) -> Option<(f64, usize)> {
    let bins = binned.thresholds.len() + 1;
    let mut sums = vec![Sum::default(); leaves * bins];
    for ((pull, leaf), bin) in pulls.iter().zip(leaf_of).zip(&binned.bins) {
        sums[usize::from(*leaf) * bins + usize::from(*bin)].add(Sum { total: *pull, count: 1.0 });
    }
    let mut gains = vec![0.0; bins - 1];
    for row in sums.chunks_exact(bins) {
        let mut all = Sum::default();
        row.iter().for_each(|sum| all.add(*sum));
        let mut left = Sum::default();
        for (gain, sum) in gains.iter_mut().zip(row) {
            left.add(*sum);
            *gain += left.gain(ridge) + all.less(left).gain(ridge);
        }
    }
    let best =
        (0..gains.len()).reduce(|best, bin| if gains[bin] > gains[best] { bin } else { best })?;
    Some((gains[best], best))
}

#[cfg(test)]
mod tests;
