//! What accounts for the difference of two timelines: every picosecond of a step of each goes to
//! one kind of work or one cause of idle time, so that the parts add up to the difference.
//!
//! Kinds are matched by class, communication by its operation, so that a prediction and a recording
//! have them in common although no kernel has the same name in both.
//!
//! At any moment the device is with: a kernel that computes, of several the first to begin; else a
//! kernel that communicates (exposed communication); else a copy or fill; else idle, by cause. Work
//! is matched by name, template arguments left out, and its share of the difference is split: with
//! `n` times of mean `m` before and `n'` of `m'` after, `(n' - n) m` is due to their number and
//! `n' (m' - m)` to their length.

mod steps;
#[cfg(test)]
mod tests;

pub use steps::StepDifference;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::profile::{Hosts, Occupied, Work, works};
use crate::timeline::{Span, SpanId, Timeline};
use crate::work::{Class, CollectiveKind};

/// One of two timelines, and what is said beside it.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The timeline.
    pub timeline: &'a Timeline,
    /// Operations of communication, where they are known.
    pub operations: &'a [(SpanId, CollectiveKind)],
}

/// What the time of a step goes to: kind, operation of communication, name.
type Key = (&'static str, Option<&'static str>, String);

/// A timeline in short: steps, and the time a step spends on each thing.
#[derive(Clone, Debug, Default, PartialEq)]
struct Spent {
    /// Processes times steps over which times are averaged.
    count: u64,
    marks_steps: bool,
    /// All of the time, in picoseconds.
    total_ps: u64,
    parts: BTreeMap<Key, Part>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Part {
    count: u64,
    ps: u64,
}

/// Why two timelines take different times.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimelineDifference {
    /// Time of a step of the first, or its whole window, in microseconds; mean over ranks.
    pub before_us: f64,
    /// The same of the second.
    pub after_us: f64,
    /// What the second takes more.
    pub difference_us: f64,
    /// Whether times are of steps: both mark them, or only one and the other is taken as one step.
    pub is_per_step: bool,
    /// Steps of all ranks in the first, 0 where it marks none.
    pub before_steps: u64,
    /// The same of the second.
    pub after_steps: u64,
    /// By kind of work and cause of idle time, the largest first; they sum to the difference.
    pub kinds: Vec<PartDifference>,
    /// By name, the largest first; they sum to the difference too.
    pub parts: Vec<PartDifference>,
    /// Steps that both mark, of one number or in order, then those that only one marks.
    pub steps: Vec<StepDifference>,
}

/// The share of one thing in a difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartDifference {
    /// The kind: `gemm`, …, `communication` (exposed, one entry an operation), `copy`, `idle`.
    pub kind: &'static str,
    /// The operation of communication, `unknown` where nothing says it.
    pub operation: Option<&'static str>,
    /// Where it is, if only in one of them: `before`, `after`.
    pub only_in: Option<&'static str>,
    /// Name of the work or cause; blank for all of a kind.
    pub name: String,
    /// Times a step, before.
    pub before_count: f64,
    /// Times a step, after.
    pub after_count: f64,
    /// Time a step, before.
    pub before_us: f64,
    /// Time a step, after.
    pub after_us: f64,
    /// What it takes more.
    pub difference_us: f64,
    /// Of that, because there are more or fewer.
    pub by_count_us: f64,
    /// Of that, because each takes longer or shorter.
    pub by_length_us: f64,
}

/// What accounts for the time of `after` less that of `before`.
///
/// Where only one marks steps the other counts as one step; where neither does, windows are
/// compared. Times are means over ranks.
pub fn difference(before: Compared<'_>, after: Compared<'_>) -> TimelineDifference {
    let steps = steps::steps(before.timeline, after.timeline);
    let (before, after) = (spent(before), spent(after));
    let counts = (before.count, after.count);
    let mut parts = Vec::new();
    let mut kinds: BTreeMap<Key, (Part, Part)> = BTreeMap::new();
    let keys: BTreeSet<_> = before.parts.keys().chain(after.parts.keys()).collect();
    for key in keys {
        let part = |spent: &Spent| spent.parts.get(key).copied().unwrap_or_default();
        let (old, new) = (part(&before), part(&after));
        let sums = kinds.entry((key.0, key.1, String::new())).or_default();
        sums.0.add(old);
        sums.1.add(new);
        parts.push(compare(key.clone(), (old, new), counts));
    }
    let kinds = kinds.into_iter().map(|(key, sums)| compare(key, sums, counts));
    let mut kinds: Vec<PartDifference> = kinds.collect();
    for list in [&mut kinds, &mut parts] {
        list.sort_by(|one, other| other.difference_us.abs().total_cmp(&one.difference_us.abs()));
    }
    let (before_us, after_us) = (before.mean_us(before.total_ps), after.mean_us(after.total_ps));
    TimelineDifference {
        before_us,
        after_us,
        difference_us: after_us - before_us,
        is_per_step: before.marks_steps || after.marks_steps,
        before_steps: if before.marks_steps { before.count } else { 0 },
        after_steps: if after.marks_steps { after.count } else { 0 },
        kinds,
        parts,
        steps,
    }
}

fn compare(
    (kind, operation, name): Key,
    (old, new): (Part, Part),
    (olds, news): (u64, u64),
) -> PartDifference {
    let per = |sum: u64, of: u64| sum as f64 / of.max(1) as f64;
    let (before_us, after_us) = (per(old.ps, olds) / 1e6, per(new.ps, news) / 1e6);
    let (before_count, after_count) = (per(old.count, olds), per(new.count, news));
    let by_count_us = match (before_count > 0.0, after_count > 0.0) {
        (true, true) => (after_count - before_count) * before_us / before_count,
        // Idle time is not counted.
        (false, false) => 0.0,
        // What is new has no mean to compare with, nor has what is gone.
        _ => after_us - before_us,
    };
    let difference_us = after_us - before_us;
    let only_in = match (old == Part::default(), new == Part::default()) {
        (false, true) => Some("before"),
        (true, false) => Some("after"),
        _ => None,
    };
    PartDifference {
        kind,
        operation,
        only_in,
        name,
        before_count,
        after_count,
        before_us,
        after_us,
        difference_us,
        by_count_us,
        by_length_us: difference_us - by_count_us,
    }
}

impl Part {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.ps += other.ps;
    }
}

impl Spent {
    fn mean_us(&self, ps: u64) -> f64 {
        ps as f64 / self.count.max(1) as f64 / 1e6
    }

    fn add(&mut self, key: Key, count: u64, ps: u64) {
        if count + ps > 0 {
            self.parts.entry(key).or_default().add(Part { count, ps });
        }
    }
}

fn spent(compared: Compared<'_>) -> Spent {
    let mut spent = Spent::default();
    let operations = compared.operations.iter().map(|it| (it.0.0, it.1)).collect();
    for work in works(compared.timeline) {
        if work.device.is_empty() {
            continue;
        }
        let (steps, from, to) = stretch(&work);
        spent.marks_steps |= steps > 0;
        spent.count += steps.max(1);
        spent.total_ps += to - from;
        add_work(&mut spent, &work, &operations, (from, to));
        for idle in Hosts::of(&work).device_stretches() {
            // The first and the last work of the steps bound idle stretches, so none is cut.
            if idle.start.ps() >= from && idle.end.ps() <= to {
                let key = ("idle", None, idle.cause.name().to_owned());
                spent.add(key, 0, idle.end.ps() - idle.start.ps());
            }
        }
    }
    spent
}

/// How many steps there is work of, and from the first to the last of it; without marks, all.
fn stretch(work: &Work<'_>) -> (u64, u64, u64) {
    let mut steps = BTreeSet::new();
    let (mut all, mut stepped) = ((u64::MAX, 0), (u64::MAX, 0));
    for &(index, span) in &work.device {
        let (from, to) = span.occupied();
        let widen = |it: (u64, u64)| (it.0.min(from.ps()), it.1.max(to.ps()));
        all = widen(all);
        if let Some(step) = work.step_of(index, span) {
            steps.insert(step);
            stepped = widen(stepped);
        }
    }
    let (from, to) = if steps.is_empty() { all } else { stepped };
    (steps.len() as u64, from, to.max(from))
}

/// Gives each moment of `from..to` in which the device is busy to what it does, and counts work.
fn add_work(
    spent: &mut Spent,
    work: &Work<'_>,
    operations: &BTreeMap<u32, CollectiveKind>,
    (from, to): (u64, u64),
) {
    let key = |(index, span): &(u32, &Span)| -> Key {
        let name = family(work.name(span));
        match span.class {
            Class::Communication(_) => {
                let operation = operations.get(index).map_or("unknown", |kind| kind.name());
                ("communication", Some(operation), name)
            }
            class => (class.name(), None, name),
        }
    };
    let mut borders: Vec<(u64, bool, usize)> = Vec::new();
    for (place, one) in work.device.iter().enumerate() {
        let span = one.1;
        let (start, end) = (span.occupied().0.ps().max(from), span.occupied().1.ps().min(to));
        if span.occupied().0.ps() >= from && span.occupied().1.ps() <= to {
            spent.add(key(one), 1, 0);
        }
        if start < end {
            borders.push((start, true, place));
            borders.push((end, false, place));
        }
    }
    borders.sort_unstable();
    // Of those that run, by rank of their kind and then by their start.
    let order = |span: &Span| match Occupied::of(span.class) {
        Occupied::Compute => 0_u8,
        Occupied::Communication => 1,
        Occupied::Memory => 2,
    };
    let mut runs: BTreeSet<(u8, usize)> = BTreeSet::new();
    let mut owned = vec![0_u64; work.device.len()];
    let mut last = from;
    for (at, begins, place) in borders {
        if let Some(&(_, owner)) = runs.first() {
            owned[owner] += at - last;
        }
        last = at;
        let key = (order(work.device[place].1), place);
        if begins {
            runs.insert(key);
        } else {
            runs.remove(&key);
        }
    }
    for (one, ps) in work.device.iter().zip(owned) {
        spent.add(key(one), 0, ps);
    }
}

/// A kernel's name without template arguments, parameters and digits of its instance, so that the
/// same kernel of two builds or shapes is one.
fn family(name: &str) -> String {
    let name = name.strip_prefix("void ").unwrap_or(name);
    let name = name.replace("(anonymous namespace)::", "");
    let mut depth = 0_usize;
    let mut family = String::new();
    for letter in name.chars() {
        match letter {
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            // Copies say in brackets from where to where, behind a blank.
            '(' if depth == 0 && !family.ends_with(' ') && !family.is_empty() => break,
            _ if depth == 0 => family.push(letter),
            _ => {}
        }
    }
    if family.is_empty() { name } else { family }
}
