//! Occupancy moment by moment, as its definition reads: the judge of the fast one.

use super::Occupancy;
use crate::timeline::Span;
use crate::units::Picoseconds;
use crate::work::Class;

pub(super) fn occupancy_slow(work: &[Span]) -> Occupancy {
    let first = work.iter().map(|span| span.occupied().0.ps()).min().unwrap_or(0);
    let last = work.iter().map(|span| span.occupied().1.ps()).max().unwrap_or(first);
    let runs = |at: u64, meant: fn(Class) -> bool| {
        work.iter().any(|span| {
            let (from, to) = span.occupied();
            meant(span.class) && from.ps() <= at && at < to.ps()
        })
    };
    let mut counts = [0; 7];
    for at in first..last {
        let communication = runs(at, |class| matches!(class, Class::Communication(_)));
        let memory = runs(at, |class| class == Class::Copy);
        let compute =
            runs(at, |class| !matches!(class, Class::Communication(_)) && class != Class::Copy);
        let held = [
            communication || memory || compute,
            compute,
            communication,
            memory,
            communication && compute,
            communication && !compute,
            communication && !compute && !memory,
        ];
        for (count, holds) in counts.iter_mut().zip(held) {
            *count += u64::from(holds);
        }
    }
    let [busy, compute, communication, memory, overlap, exposed_communication, beyond] =
        counts.map(Picoseconds::new);
    let window = Picoseconds::new(last - first);
    Occupancy {
        window,
        idle: window - busy,
        busy,
        compute,
        communication,
        memory,
        overlap,
        exposed_communication,
        exposed_beyond_memory: beyond,
    }
}
