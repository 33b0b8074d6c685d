//! Unions of intervals, and how much of a stretch they cover.

use std::collections::BTreeMap;

/// Disjoint intervals in ascending order, with the length of all before each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    parts: Vec<(u64, u64)>,
    before: Vec<u64>,
}

impl Intervals {
    /// The union of half-open intervals; those that end before they start are empty.
    pub fn union(intervals: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<(u64, u64)> = intervals.filter(|(from, to)| from < to).collect();
        // Recordings come in order of their starts, nearly.
        sorted.sort();
        let mut parts: Vec<(u64, u64)> = Vec::new();
        for (from, to) in sorted {
            match parts.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => parts.push((from, to)),
            }
        }
        let lengths = parts.iter().scan(0, |sum, (from, to)| {
            let before = *sum;
            *sum += to - from;
            Some(before)
        });
        let before = lengths.collect();
        Self { parts, before }
    }

    /// Unions of the intervals of each place; places whose intervals are all empty are left out.
    pub fn by_place<K: Ord>(intervals: impl Iterator<Item = (K, (u64, u64))>) -> BTreeMap<K, Self> {
        let mut by_place: BTreeMap<K, Vec<(u64, u64)>> = BTreeMap::new();
        for (place, interval) in intervals.filter(|(_, (from, to))| from < to) {
            by_place.entry(place).or_default().push(interval);
        }
        let union = |(place, parts): (K, Vec<_>)| (place, Self::union(parts.into_iter()));
        by_place.into_iter().map(union).collect()
    }

    /// The disjoint intervals, in ascending order.
    pub(super) fn parts(&self) -> &[(u64, u64)] {
        &self.parts
    }

    /// The interval in which a moment lies.
    pub(super) fn part_at(&self, at: u64) -> Option<(u64, u64)> {
        let index = self.parts.partition_point(|part| part.0 <= at).checked_sub(1)?;
        Some(self.parts[index]).filter(|part| at < part.1)
    }

    /// Length of all of it.
    pub fn length(&self) -> u64 {
        self.covered(0, u64::MAX)
    }

    /// How much of it another one covers too.
    pub(super) fn shared_with(&self, other: &Self) -> u64 {
        self.parts.iter().map(|&(from, to)| other.covered(from, to)).sum()
    }

    /// How much of `from..to` is covered.
    pub fn covered(&self, from: u64, to: u64) -> u64 {
        self.covered_until(to).saturating_sub(self.covered_until(from))
    }

    /// Whether a point in time is in it.
    pub fn contains(&self, at: u64) -> bool {
        self.part_at(at).is_some()
    }

    /// What of it lies in `from..to`, in ascending order.
    pub fn inside(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let first = self.parts.partition_point(|part| part.1 <= from);
        let parts = self.parts[first..].iter().take_while(move |part| part.0 < to);
        parts.map(move |part| (part.0.max(from), part.1.min(to)))
    }

    fn covered_until(&self, at: u64) -> u64 {
        let index = self.parts.partition_point(|part| part.0 < at);
        index.checked_sub(1).map_or(0, |index| {
            let (from, to) = self.parts[index];
            self.before[index] + to.min(at) - from
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn intervals_cover_the_points_that_any_of_them_contains(
            parts in prop::collection::vec((0_u64..40, 0_u64..40), 0..12),
            (from, to) in (0_u64..45, 0_u64..45),
        ) {
            let union = Intervals::union(parts.iter().copied());
            let is_in = |at: u64| parts.iter().any(|part| part.0 <= at && at < part.1);
            for at in 0..45 {
                prop_assert_eq!(union.contains(at), is_in(at));
            }
            let points: Vec<u64> = (from..to).filter(|&at| is_in(at)).collect();
            prop_assert_eq!(union.covered(from, to), points.len() as u64);
            let inside: Vec<u64> = union.inside(from, to).flat_map(|part| part.0..part.1).collect();
            prop_assert_eq!(inside, points);
            // By place: each point belongs to the places one of whose intervals has it.
            let by_place = Intervals::by_place(parts.iter().map(|&part| (part.0 % 3, part)));
            for (place, union) in &by_place {
                let of_place = || parts.iter().filter(|part| part.0 % 3 == *place);
                prop_assert!(union.length() > 0);
                for at in 0..45 {
                    let expected = of_place().any(|part| part.0 <= at && at < part.1);
                    prop_assert_eq!(union.contains(at), expected);
                }
            }
        }
    }
}
