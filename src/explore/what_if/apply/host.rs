//! Host time that is gone, and calls that wait no longer.

use std::collections::BTreeSet;

use super::kernels::edit_steps;
use crate::explore::what_if::{Selection, Selector};
use crate::program::Step;
use crate::replay::{HostPlace, HostWork, Prepared};
use crate::timeline::{FrameKind, FramePurpose, SpanId};
use crate::units::{Instant, Seconds};

/// Time between two launches below which it is that of dispatching them, where the recording has no
/// operators to tell: 100 us, in picoseconds.
const DISPATCH_MOST: u64 = 100_000_000;

/// Calls that are selected wait for the device no longer; gives how many there are.
pub(super) fn remove_waits(prepared: &mut Prepared<'_>, selection: &Selection) -> u64 {
    let waits = |place: &HostPlace| match place.work {
        HostWork::Wait(call) if selection.has(call) => Some(call),
        _ => None,
    };
    let calls: BTreeSet<SpanId> =
        prepared.places.iter().flatten().flatten().filter_map(waits).collect();
    for role in 0..prepared.program.roles.len() {
        edit_steps(prepared, role, |step, place| waits(place).is_none().then_some(step));
    }
    calls.len() as u64
}

/// Host time takes another time: that of calls where the selector names calls, else all in the
/// selected place. Gives how many stretches there are.
pub(super) fn scale(prepared: &mut Prepared<'_>, select: &Selector, factor: f64) -> u64 {
    let selection = Selection::of(prepared.recording, select);
    let by_call = select.name.is_some();
    scale_by(prepared, |process, place| match (by_call, place.work) {
        (true, HostWork::Call(call)) if selection.has(call) => factor,
        (true, _) => 1.0,
        // When a recording of a rank begins is nobody's doing.
        (false, HostWork::Between) if place.from == 0 => 1.0,
        (false, _) => {
            let Some(thread) = place.thread else { return 1.0 };
            let covered = selection.covered(process, thread, place.from, place.to);
            let share = covered as f64 / (place.to - place.from).max(1) as f64;
            1.0 - share * (1.0 - factor)
        }
    })
}

/// Time of the host between its calls is gone where it is selected; gives how many stretches.
pub(in crate::explore) fn remove_between(
    prepared: &mut Prepared<'_>,
    selection: &Selection,
) -> u64 {
    scale_by(prepared, |process, place| match (place.work, place.thread) {
        (HostWork::Between, Some(thread)) if place.from > 0 => {
            let covered = selection.covered(process, thread, place.from, place.to);
            1.0 - covered as f64 / (place.to - place.from).max(1) as f64
        }
        _ => 1.0,
    })
}

/// Launches in the selected place cost the host nothing, nor does the way from one to the next.
pub(super) fn graph(prepared: &mut Prepared<'_>, selection: &Selection) -> u64 {
    let recording = prepared.recording;
    let launches: BTreeSet<SpanId> = recording.launched_by.iter().flatten().copied().collect();
    let ranges = [FramePurpose::DataLoading, FramePurpose::Range].map(Some);
    let operators = Selection::of_frames(recording, |frame| {
        frame.kind == FrameKind::Operator && !ranges.contains(&frame.purpose)
    });
    // Transforms of data are operators too, and no graph holds them.
    let loading =
        Selection::of_frames(recording, |frame| frame.purpose == Some(FramePurpose::DataLoading));
    let count = scale_by(prepared, |process, place| {
        let Some(thread) = place.thread else { return 1.0 };
        let loads = loading
            .as_ref()
            .map_or(0, |loading| loading.covered(process, thread, place.from, place.to));
        if !selection.covers(process, thread, place.from) || loads > 0 {
            return 1.0;
        }
        match (place.work, &operators) {
            (HostWork::Call(call), _) if launches.contains(&call) => 0.0,
            (HostWork::Between, Some(operators)) => {
                let covered = operators.covered(process, thread, place.from, place.to);
                1.0 - covered as f64 / (place.to - place.from).max(1) as f64
            }
            (HostWork::Between, None) if place.to - place.from < DISPATCH_MOST => 0.0,
            _ => 1.0,
        }
    });
    for (work, span) in prepared.work_span.iter().enumerate() {
        let Some(call) = span.and_then(|span| recording.launched_by[span.0 as usize]) else {
            continue;
        };
        if selection.has(call) {
            prepared.costs.works[work].launch = Seconds::ZERO;
        }
    }
    count
}

/// Multiplies the time of each host step by a factor of its place; gives how many changed.
fn scale_by(prepared: &mut Prepared<'_>, factor: impl Fn(u32, &HostPlace) -> f64) -> u64 {
    let mut count = 0;
    for role in 0..prepared.program.roles.len() {
        let edited = &mut prepared.program.roles[role];
        let threads = std::iter::once(&mut edited.steps).chain(&mut edited.other_threads);
        for (steps, places) in threads.zip(&prepared.places[role]) {
            for (step, place) in steps.iter_mut().zip(places) {
                let Step::Host { time, .. } = step else { continue };
                let factor = factor(role as u32, place);
                if factor != 1.0 && *time > Seconds::ZERO {
                    // Through the clock, so that the sum of many is exact.
                    *time = Instant::START.after(*time * factor).seconds();
                    count += 1;
                }
            }
        }
    }
    count
}
