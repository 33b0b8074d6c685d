//! Device work by kind and by name.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::Work;
use crate::units::Picoseconds;
use crate::work::Class;

/// Device work of a kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindTime {
    /// The kind (`gemm`, `communication`, `copy`, …).
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Sum of their times.
    #[serde(rename = "total_us")]
    pub total: Picoseconds,
    /// Mean of their times.
    #[serde(rename = "mean_us")]
    pub mean: Picoseconds,
    /// Share of the sum over all device work.
    pub fraction: f64,
}

/// Device work of a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KernelTime {
    /// The name.
    pub name: String,
    /// What kind it is of, and its figures.
    #[serde(flatten)]
    pub time: KindTime,
}

/// Sums by key, the longest first, then in order of the keys.
fn sums<K: Copy + Ord + std::hash::Hash>(
    work: &Work<'_>,
    key: impl Fn(&crate::timeline::Span) -> K,
) -> Vec<(K, Class, u64, Picoseconds)> {
    let mut places: FxHashMap<K, usize> = FxHashMap::default();
    let mut sums: Vec<(K, Class, u64, Picoseconds)> = Vec::new();
    for span in work.device() {
        let key = key(span);
        let (from, to) = span.occupied();
        let place = *places.entry(key).or_insert_with(|| {
            sums.push((key, span.class, 0, Picoseconds::ZERO));
            sums.len() - 1
        });
        sums[place].2 += 1;
        sums[place].3 += Picoseconds::between(from, to);
    }
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.3), sum.0));
    sums
}

fn time(class: Class, count: u64, total: Picoseconds, all: Picoseconds) -> KindTime {
    let mean = total.mean_of(count);
    KindTime { kind: class.name(), count, total, mean, fraction: total.share_of(all) }
}

/// By kind.
pub(super) fn kinds(work: &Work<'_>) -> Vec<KindTime> {
    let sums = sums(work, |span| span.class);
    let all = sums.iter().map(|sum| sum.3).sum();
    sums.into_iter().map(|(_, class, count, total)| time(class, count, total, all)).collect()
}

/// By name, so many at most.
pub(super) fn kernels(work: &Work<'_>, most: usize) -> Vec<KernelTime> {
    let sums = sums(work, |span| span.label);
    let all = sums.iter().map(|sum| sum.3).sum();
    let named = sums.into_iter().take(most).map(|(label, class, count, total)| KernelTime {
        name: work.timeline.labels.name(label).to_owned(),
        time: time(class, count, total, all),
    });
    named.collect()
}
