//! Kernels and communication beside them, taken apart: edits move work, and what a kernel takes
//! depends on what comes to run beside it.
//!
//! A recorded duration holds the slowing that happened. From the share `s` of a kernel that
//! communication runs beside in the replay, and the factor `f` of its class, its time alone is
//! `t (1 - s + s / f)`, and the engine slows it by `f` while communication runs: so that without an
//! edit the replay is what it was.

use std::collections::BTreeMap;

use crate::analysis::{FactorUsed, InterferenceUsed, Intervals, UntoldClass};
use crate::calibrate::{Interference, Interferences, interference, is_bound_by_memory};
use crate::plan::GroupKind;
use crate::program::{Group, GroupId, WorkKind};
use crate::replay::{Prepared, Replay};
use crate::timeline::SpanId;
use crate::work::Class;

/// Kernels beside communication, and kinds of them, that a factor must rest on to be used.
const KERNELS_LEAST: u64 = 8;
const KINDS_LEAST: u64 = 2;

/// Gives kernels their time alone and the factor by which communication slows them, from the
/// recording and its replay as recorded; tells which factors these are.
pub(super) fn take_apart(prepared: &mut Prepared<'_>, replay: &Replay) -> InterferenceUsed {
    take_apart_by(&interference(prepared.recording), prepared, replay)
}

fn take_apart_by(
    measured: &Interferences,
    prepared: &mut Prepared<'_>,
    replay: &Replay,
) -> InterferenceUsed {
    let moving = Intervals::by_place(
        replay
            .timeline
            .spans
            .iter()
            .filter(|span| matches!(span.class, Class::Communication(_)))
            .map(|span| (span.process, (span.start.ps(), span.end.ps()))),
    );
    if moving.is_empty() {
        return InterferenceUsed::default();
    }
    let mut tallies: BTreeMap<Class, (u64, f64)> = BTreeMap::new();
    for work in 0..prepared.work_span.len() {
        let Some(SpanId(span)) = prepared.work_span[work] else { continue };
        let class = prepared.program.works[work].class();
        let process = prepared.recording.timeline.spans[span as usize].process;
        match class {
            Class::Communication(_) => meet_alone(prepared, work, process),
            Class::Copy | Class::Host => {}
            class => {
                let cost = &mut prepared.costs.works[work];
                let tally = tallies.entry(class).or_default();
                tally.0 += 1;
                tally.1 += cost.time.value();
                let Ok(found) = factor(measured, class) else { continue };
                let Some((from, to)) = replay.times[span as usize] else { continue };
                let (from, to) = (from.ps(), to.ps());
                let covered = moving.get(&process).map_or(0, |moving| moving.covered(from, to));
                let share = covered as f64 / to.saturating_sub(from).max(1) as f64;
                let slowdown = found.factor.max(1.0);
                cost.time = cost.time * (1.0 - share + share / slowdown);
                cost.slowdown = slowdown;
            }
        }
    }
    used(measured, &tallies)
}

/// Communication of which no other member was recorded is one of its own rank alone, so that the
/// engine takes it for communication too.
fn meet_alone(prepared: &mut Prepared<'_>, work: usize, process: u32) {
    if let WorkKind::Recorded { bytes, .. } = prepared.program.works[work].kind {
        let group = GroupId(prepared.program.groups.len() as u32);
        let members = vec![process as usize];
        prepared.program.groups.push(Group { kind: GroupKind::Recorded, members });
        prepared.program.works[work].kind = WorkKind::Meeting { group, bytes };
    }
}

/// The factor of a class, or why there is none.
fn factor(measured: &Interferences, class: Class) -> Result<&Interference, String> {
    let of = |name: &str| measured.factors.iter().find(|it| it.class == name);
    let all = is_bound_by_memory(class).then(|| of("memory_bound")).flatten();
    let is_enough =
        |it: &&Interference| it.beside_count >= KERNELS_LEAST && it.kind_count >= KINDS_LEAST;
    let own = of(class.name());
    own.filter(is_enough).or_else(|| all.filter(is_enough)).ok_or_else(|| match own.or(all) {
        Some(few) => format!(
            "only {} of {} kinds could be compared with the same alone",
            few.beside_count, few.kind_count
        ),
        None => "none could be compared with the same kernel alone".to_owned(),
    })
}

fn used(measured: &Interferences, tallies: &BTreeMap<Class, (u64, f64)>) -> InterferenceUsed {
    let all: f64 = tallies.values().map(|tally| tally.1).sum();
    let mut used = InterferenceUsed::default();
    for (&class, &(kernel_count, time)) in tallies {
        let name = class.name().to_owned();
        match factor(measured, class) {
            Ok(found) => used.factors.push(FactorUsed {
                class: name,
                kernel_count,
                factor: found.factor.max(1.0),
                factor_p25: found.factor_p25,
                factor_p75: found.factor_p75,
                measured_on: found.class.clone(),
                beside_count: found.beside_count,
                told_count: found.told_count,
                alone_count: found.alone_count,
            }),
            Err(why) => used.untold.push(UntoldClass {
                class: name,
                kernel_count,
                time_fraction: if all > 0.0 { time / all } else { 0.0 },
                why,
            }),
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{prepare, run};
    use crate::trace::{Builder, Classes, DeviceEvent, DeviceKind, HostCall, Recording};
    use crate::units::Instant;
    use proptest::prelude::*;

    fn measured(factor: f64) -> Interferences {
        let found = Interference {
            class: "memory_bound".to_owned(),
            factor,
            factor_p25: factor,
            factor_p75: factor,
            kind_median: factor,
            factor_of_told: Some(factor),
            told_count: 8,
            kind_count: 2,
            beside_count: 8,
            alone_count: 8,
        };
        Interferences { factors: vec![found], left_out: BTreeMap::new() }
    }

    /// Kernels and communication on three streams, each launched `gap` after the one before and
    /// `length` long; they start when they can.
    fn recording(works: &[(bool, i64, i64, i64)]) -> Recording {
        let classes = Classes::shipped();
        let mut builder = Builder::new("a", &classes);
        let (mut launched, mut free) = (0, [0; 3]);
        for (correlation, &(communicates, stream, gap, length)) in (1..).zip(works) {
            launched += gap;
            let start_ns = free[stream as usize].max(launched + 5_000);
            free[stream as usize] = start_ns + length;
            builder.host_call(HostCall {
                pid: 1,
                thread: 1,
                name: "cudaLaunchKernel",
                start_ns: launched,
                end_ns: launched + 1_000,
                correlation: Some(correlation),
                context: 0,
            });
            builder.device_event(DeviceEvent {
                kind: DeviceKind::Kernel,
                device: 0,
                stream,
                name: if communicates { "ncclKernel_AllReduce" } else { "vectorized_elementwise" },
                start_ns,
                end_ns: start_ns + length,
                correlation: Some(correlation),
                context: 0,
                bytes: None,
                collective: None,
            });
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn without_an_edit_the_replay_is_what_it_was(
            works in prop::collection::vec(
                (any::<bool>(), 0_i64..3, 1_500_i64..30_000, 500_i64..60_000), 1..40),
            factor in 1.0_f64..3.0,
        ) {
            let recording = recording(&works);
            let mut prepared = prepare(&recording);
            let before = run(&prepared).unwrap();
            take_apart_by(&measured(factor), &mut prepared, &before);
            let after = run(&prepared).unwrap();
            for (left, right) in before.times.iter().flatten().zip(after.times.iter().flatten()) {
                // Each start and end is rounded to the clock, and one follows from the other.
                let off = |one: Instant, other: Instant| one.ps().abs_diff(other.ps());
                prop_assert!(off(left.0, right.0) <= 1_000, "{left:?} {right:?}");
                prop_assert!(off(left.1, right.1) <= 1_000, "{left:?} {right:?}");
            }
        }
    }
}
