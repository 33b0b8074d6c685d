//! The same kernels with and without communication beside them.
//!
//! A kernel that communication runs beside for a share `s` of its time `t` does `1 - s` of that at
//! its own pace and `s` slowed by a factor `f`, as the engine has it: alone it takes
//! `a = t (1 - s + s / f)`, so `f = s t / (a - (1 - s) t)`, which for a kernel wholly beside
//! communication is `t / a`. `a` is the median of the same kernel alone. A kind of kernel has the
//! median of its factors; a class has the time of its kinds beside communication over what the same
//! work takes alone, since that is what moving work away from communication would save.
//!
//! The same kernel is one of the same name and grid, launched by the same thread in the same
//! operator with the same shapes: forward and what backward computes again find other clocks and
//! caches.
//! Where shapes are not known, the grid must tell the work: a persistent kernel has as many blocks
//! as the device has room for whatever it is given. Kernels of a name whose times differ under one
//! grid are not compared. Where a name has one grid that a device could hold at once, and times do
//! not differ, nothing tells whether it is the work's or the device's: such kernels count, since
//! one that fills the device suffers most (communication takes some of it, so that another round
//! is needed), and a second factor is without them.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::operators::Operators;
use super::{is_kernel, quantile, time_us};
use crate::analysis::Intervals;
use crate::timeline::{LabelId, Lane, Span, SpanId};
use crate::trace::Recording;
use crate::work::Class;

/// Beside communication for at least this share of its time, a kernel tells what that does to it;
/// below the other it counts as alone.
const BESIDE_FRACTION: f64 = 0.5;
const ALONE_FRACTION: f64 = 0.02;
/// Kernels on each side that a kind needs.
const KERNELS_MIN: usize = 2;

/// Times alone that differ by more than this (ninth tenth to first) are of different work.
const ALONE_RATIO: f64 = 1.3;
/// The same beside communication, which slows by more or less: nothing measured slows a kernel by
/// more than 1.9 (a second wave of a kernel that fills the device).
const BESIDE_RATIO: f64 = 2.0;
/// What clocks of whole microseconds add to differences, in microseconds.
const CLOCK_US: f64 = 1.0;
/// Most blocks of a persistent kernel: eight on each of 304 compute units (MI300X) at most.
const PERSISTENT_BLOCKS: u64 = 2432;
/// Nothing is faster beside communication: below this it is other work, or other clocks.
const FACTOR_LEAST: f64 = 0.9;
/// A factor beyond this is no slowdown but noise in a kernel that is hardly beside communication.
const FACTOR_MOST: f64 = 10.0;

const NO_GRID: &str = "neither grid nor shapes in the trace, so the same work cannot be told";
const VARIED: &str = "unknown shapes, and different work under one grid (persistent kernels)";
const NEVER_ALONE: &str = "nothing of the same work alone, or too little to compare";
const FASTER: &str = "faster beside communication: other work under one name, or other clocks";
const MIXED: &str = "one name, grid and shape, but times alone differ";

/// How much slower kernels of a class are beside communication.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interference {
    /// Class of the kernels; `memory_bound` for all that are no products and no attention.
    pub class: String,
    /// Time beside communication over the time that the same work takes alone.
    pub factor: f64,
    /// A quarter of the kernels' time beside communication is slowed by less.
    pub factor_p25: f64,
    /// A quarter is slowed by more.
    pub factor_p75: f64,
    /// Median over kinds of kernels, each counted once whatever its time.
    pub kind_median: f64,
    /// The factor of those kernels alone whose shapes are known, or whose grid tells their work;
    /// `None` where there are none.
    pub factor_of_told: Option<f64>,
    /// How many of these ran beside communication.
    pub told_count: u64,
    /// Kinds of kernels that were compared: of one name and grid, in one operator with one shape.
    pub kind_count: u64,
    /// Kernels beside communication.
    pub beside_count: u64,
    /// Kernels alone.
    pub alone_count: u64,
}

/// What communication does to kernels, and which kernels do not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Interferences {
    /// By class, and of all that memory bounds.
    pub factors: Vec<Interference>,
    /// Kernels beside communication that were not compared, by the reason.
    pub left_out: BTreeMap<String, u64>,
}

/// What communication does to kernels beside it, as a recording shows it. Shapes of operators make
/// more kernels comparable, where the recording has them.
pub fn interference(recording: &Recording) -> Interferences {
    factors(recording, &Operators::of(recording), &beside(recording))
}

/// By span, which share of a kernel communication runs beside it on its device. Where a collective
/// was matched over ranks, its data moves only after the last member has arrived.
pub(super) fn beside(recording: &Recording) -> Vec<f64> {
    let spans = &recording.timeline.spans;
    let communicates = |span: &&Span| matches!(span.class, Class::Communication(_));
    let moving = Intervals::by_place(
        spans
            .iter()
            .filter(|span| is_kernel(span) && communicates(span))
            .map(|span| (span.process, (span.start.ps(), span.end.ps()))),
    );
    let share = |span: &Span| -> f64 {
        let (start, end) = (span.start.ps(), span.end.ps());
        let covered = moving.get(&span.process).map_or(0, |moving| moving.covered(start, end));
        covered as f64 / end.saturating_sub(start).max(1) as f64
    };
    let of = |span: &Span| {
        if is_kernel(span) && !communicates(&span) { share(span) } else { 0.0 }
    };
    spans.iter().map(of).collect()
}

/// What makes kernels the same: process, name, blocks, and who launched it: thread, and
/// operator with its shapes.
type Kind = (u32, LabelId, Option<[u32; 3]>, Option<Lane>, String);

/// Kernels of one kind.
#[derive(Default)]
struct Kernels {
    class: Option<Class>,
    has_shapes: bool,
    alone_us: Vec<f64>,
    /// Time and share of it beside communication.
    beside: Vec<(f64, f64)>,
}

impl Kernels {
    fn of(
        recording: &Recording,
        operators: &Operators<'_>,
        beside: &[f64],
    ) -> BTreeMap<Kind, Self> {
        let mut kinds: BTreeMap<Kind, Self> = BTreeMap::new();
        for (index, span) in recording.timeline.spans.iter().enumerate() {
            if !is_kernel(span) || matches!(span.class, Class::Communication(_)) {
                continue;
            }
            let id = SpanId(index as u32);
            let arguments = operators.around(id).find_map(|(frame, _)| operators.arguments(frame));
            let shapes = arguments.filter(|it| it.shapes.iter().any(|shape| !shape.is_empty()));
            let operator = operators.around(id).next().map_or("", |(_, name)| name);
            let work = match shapes {
                Some(it) => format!("{operator} {:?} {:?}", it.shapes, it.dtypes),
                None => operator.to_owned(),
            };
            let grid = recording.grids.get(index).copied().flatten();
            let call = recording.launched_by.get(index).copied().flatten();
            let thread = call.map(|call| recording.timeline.spans[call.0 as usize].lane);
            let kind = kinds.entry((span.process, span.label, grid, thread, work)).or_default();
            kind.class = Some(span.class);
            kind.has_shapes = shapes.is_some();
            let share = beside[index];
            if share >= BESIDE_FRACTION {
                kind.beside.push((time_us(span), share));
            } else if share <= ALONE_FRACTION {
                kind.alone_us.push(time_us(span));
            }
        }
        kinds
    }

    /// Whether these do different work.
    fn is_mixed(&self) -> bool {
        let mut alone = self.alone_us.clone();
        let mut beside: Vec<f64> = self.beside.iter().map(|it| it.0).collect();
        differ(&mut alone, ALONE_RATIO) || differ(&mut beside, BESIDE_RATIO)
    }

    /// Median of the factors of kernels beside communication, and each with its time there.
    fn compared(&self) -> Option<Compared> {
        if self.alone_us.len().min(self.beside.len()) < KERNELS_MIN {
            return None;
        }
        let alone = quantile(&mut self.alone_us.clone(), 0.5).filter(|&alone| alone > 0.0)?;
        let factor = |&(time, share): &(f64, f64)| {
            let moved = share * time;
            let rest = (alone - (time - moved)).max(moved / FACTOR_MOST);
            (moved / rest, moved)
        };
        let factors: Vec<(f64, f64)> =
            self.beside.iter().filter(|it| it.0 > 0.0).map(factor).collect();
        let median = quantile(&mut factors.iter().map(|it| it.0).collect::<Vec<f64>>(), 0.5)?;
        Some((median, factors))
    }
}

/// Median of factors, and each factor with the time beside communication behind it.
type Compared = (f64, Vec<(f64, f64)>);

/// Whether times differ by more than a ratio, ninth tenth to first.
fn differ(times: &mut [f64], ratio: f64) -> bool {
    let (low, high) = (quantile(times, 0.1), quantile(times, 0.9));
    low.zip(high).is_some_and(|(low, high)| high > ratio * low + CLOCK_US)
}

/// Whether the grid of kernels of a name tells their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GridTells {
    /// It grows with the work, or is larger than what a device holds at once.
    Yes,
    /// One size that a device can hold at once, whoever calls: it may be the device's.
    Unclear,
    /// Times differ under one grid.
    No,
}

/// What grids tell, by process and name.
fn grids(kinds: &BTreeMap<Kind, Kernels>) -> BTreeMap<(u32, LabelId), GridTells> {
    let blocks = |grid: [u32; 3]| grid.iter().map(|&side| u64::from(side)).product::<u64>();
    let mut sizes: BTreeMap<(u32, LabelId), BTreeSet<u64>> = BTreeMap::new();
    let mut varied = BTreeSet::new();
    for ((process, name, grid, ..), kernels) in kinds {
        sizes.entry((*process, *name)).or_default().extend(grid.map(blocks));
        if !kernels.has_shapes && kernels.is_mixed() {
            varied.insert((*process, *name));
        }
    }
    let tells = |(name, sizes): ((u32, LabelId), BTreeSet<u64>)| {
        let is_small = sizes.iter().all(|&size| size <= PERSISTENT_BLOCKS);
        let tells = if varied.contains(&name) {
            GridTells::No
        } else if sizes.len() < 2 && is_small {
            GridTells::Unclear
        } else {
            GridTells::Yes
        };
        (name, tells)
    };
    sizes.into_iter().map(tells).collect()
}

/// Factors of one class under way.
#[derive(Default)]
struct Sum {
    /// Time beside communication, and what the same work takes alone.
    moved: f64,
    alone: f64,
    /// The same of kernels whose work is told for sure.
    told: (f64, f64),
    told_count: u64,
    /// Time beside communication of what seems faster there.
    faster: f64,
    of_kinds: Vec<f64>,
    of_kernels: Vec<(f64, f64)>,
    alone_count: u64,
}

impl Sum {
    fn add(&mut self, kernels: &Kernels, (median, factors): &Compared, is_told: bool) {
        let moved: f64 = factors.iter().map(|it| it.1).sum();
        if *median < FACTOR_LEAST {
            self.faster += moved;
            return;
        }
        self.moved += moved;
        self.alone += moved / median;
        self.of_kinds.push(*median);
        self.of_kernels.extend(factors);
        self.alone_count += kernels.alone_us.len() as u64;
        if is_told {
            self.told.0 += moved;
            self.told.1 += moved / median;
            self.told_count += factors.len() as u64;
        }
    }

    /// Nothing where most of what was compared seems faster beside communication.
    fn finish(mut self, class: &str) -> Option<Interference> {
        if self.of_kinds.is_empty() || self.faster > self.moved {
            return None;
        }
        self.of_kernels.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        let quarter = |share: f64| {
            let mut sum = 0.0;
            let reached = |it: &&(f64, f64)| {
                sum += it.1;
                sum >= share * self.moved
            };
            self.of_kernels.iter().find(reached).map_or(1.0, |it| it.0)
        };
        Some(Interference {
            class: class.to_owned(),
            factor: self.moved / self.alone,
            factor_p25: quarter(0.25),
            factor_p75: quarter(0.75),
            kind_median: quantile(&mut self.of_kinds.clone(), 0.5)?,
            factor_of_told: (self.told_count > 0).then(|| self.told.0 / self.told.1),
            told_count: self.told_count,
            kind_count: self.of_kinds.len() as u64,
            beside_count: self.of_kernels.len() as u64,
            alone_count: self.alone_count,
        })
    }
}

/// Whether memory bounds kernels of a class.
pub fn is_bound_by_memory(class: Class) -> bool {
    !matches!(class, Class::Gemm | Class::Attention | Class::Communication(_) | Class::Host)
}

/// Factors by class, and of all that memory bounds.
pub(super) fn factors(
    recording: &Recording,
    operators: &Operators<'_>,
    beside: &[f64],
) -> Interferences {
    let kinds = Kernels::of(recording, operators, beside);
    let grids = grids(&kinds);
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    for ((process, name, grid, ..), kernels) in &kinds {
        let compared = kernels.compared();
        let tells = grid.and(grids.get(&(*process, *name)));
        let why = match (kernels.has_shapes, tells) {
            (true, _) if kernels.is_mixed() => Some(MIXED),
            (false, None) => Some(NO_GRID),
            (false, Some(GridTells::No)) => Some(VARIED),
            _ if compared.is_none() => Some(NEVER_ALONE),
            _ if compared.as_ref().is_some_and(|it| it.0 < FACTOR_LEAST) => Some(FASTER),
            _ => None,
        };
        if let Some(why) = why.filter(|_| !kernels.beside.is_empty()) {
            *left_out.entry(why.to_owned()).or_default() += kernels.beside.len() as u64;
        }
        let (Some(class), Some(compared)) = (kernels.class, compared) else { continue };
        if why.is_some_and(|why| why != FASTER) {
            continue;
        }
        let is_told = kernels.has_shapes || tells == Some(&GridTells::Yes);
        let names = [Some(class.name()), is_bound_by_memory(class).then_some("memory_bound")];
        for name in names.into_iter().flatten() {
            sums.entry(name).or_default().add(kernels, &compared, is_told);
        }
    }
    let factors = sums.into_iter().filter_map(|(class, sum)| sum.finish(class)).collect();
    Interferences { factors, left_out }
}

#[cfg(test)]
mod tests;
