//! Unions of intervals, and how much of a stretch they cover.

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

    fn covered_until(&self, at: u64) -> u64 {
        let index = self.parts.partition_point(|part| part.0 < at);
        index.checked_sub(1).map_or(0, |index| {
            let (from, to) = self.parts[index];
            self.before[index] + to.min(at) - from
        })
    }
}
