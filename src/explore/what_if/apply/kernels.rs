//! Kernels that are gone, or merged with their neighbours.

use std::collections::{BTreeMap, BTreeSet};

use crate::explore::what_if::{Selection, Selector};
use crate::program::{Action, EventId, Launch, Step, Stream, Waits};
use crate::replay::{HostPlace, HostWork, Prepared};
use crate::units::Seconds;

/// Works of the program whose device spans a selector selects.
pub(super) fn selected(prepared: &Prepared<'_>, select: &Selector) -> BTreeSet<u32> {
    let selection = Selection::of(prepared.recording, select);
    (0..)
        .zip(&prepared.work_span)
        .filter(|(_, span)| span.is_some_and(|span| selection.has(span)))
        .map(|(work, _)| work)
        .collect()
}

/// The work that a step launches.
pub(super) fn launched(step: &Step) -> Option<(u32, &Launch)> {
    match step {
        Step::Launch(launch) => match launch.action {
            Action::Work(work) => Some((work.0, launch)),
            _ => None,
        },
        _ => None,
    }
}

/// Launches of a role by stream, in the order of the works, which is that of being put on streams.
pub(super) fn streams(
    prepared: &Prepared<'_>,
    role: usize,
) -> BTreeMap<Stream, BTreeMap<u32, Launch>> {
    let mut streams: BTreeMap<Stream, BTreeMap<u32, Launch>> = BTreeMap::new();
    for step in prepared.program.roles[role].threads().flatten() {
        if let Some((work, launch)) = launched(step) {
            streams.entry(launch.stream).or_default().insert(work, *launch);
        }
    }
    streams
}

/// Gives the first of each run of selected neighbours on a stream the time of all, and tells the
/// others, which are to be removed. What waits for another stream begins a new run.
pub(super) fn fuse(
    prepared: &mut Prepared<'_>,
    selected: &BTreeSet<u32>,
    factor: f64,
) -> BTreeSet<u32> {
    let mut gone = BTreeSet::new();
    for role in 0..prepared.program.roles.len() {
        for (_, launches) in streams(prepared, role) {
            let mut runs: Vec<Vec<u32>> = vec![Vec::new()];
            for (&work, launch) in &launches {
                let waits = launch.waits != Waits::NONE;
                if !selected.contains(&work) || waits {
                    runs.push(Vec::new());
                }
                if selected.contains(&work)
                    && let Some(run) = runs.last_mut()
                {
                    run.push(work);
                }
            }
            for run in runs.iter().filter(|run| run.len() > 1) {
                let times = run.iter().map(|&work| prepared.costs.works[work as usize].time);
                let sum: Seconds = times.sum();
                prepared.costs.works[run[0] as usize].time = sum * factor;
                gone.extend(&run[1..]);
            }
        }
    }
    gone
}

/// Takes works out of the program; what waited for one waits for what comes before it on its
/// stream.
pub(super) fn remove(prepared: &mut Prepared<'_>, gone: &BTreeSet<u32>) {
    for role in 0..prepared.program.roles.len() {
        let mut instead: BTreeMap<EventId, EventId> = BTreeMap::new();
        for (_, launches) in streams(prepared, role) {
            let mut last = EventId::NONE;
            for (work, launch) in launches {
                if gone.contains(&work) {
                    instead.insert(launch.records, last);
                } else if launch.records != EventId::NONE {
                    last = launch.records;
                }
            }
        }
        let calls: BTreeSet<_> = gone
            .iter()
            .filter_map(|&work| prepared.work_span[work as usize])
            .filter_map(|span| prepared.recording.launched_by[span.0 as usize])
            .collect();
        edit_steps(prepared, role, |step, place| {
            let is_gone = launched(&step).is_some_and(|(work, _)| gone.contains(&work));
            let is_its_call = matches!(place.work, HostWork::Call(call) if calls.contains(&call))
                && matches!(step, Step::Host { .. });
            if is_gone || is_its_call {
                return None;
            }
            match step {
                Step::Launch(mut launch) => {
                    let events: Vec<EventId> = launch
                        .waits
                        .iter()
                        .map(|event| instead.get(&event).copied().unwrap_or(event))
                        .collect();
                    launch.waits = Waits::on(&events);
                    Some(Step::Launch(launch))
                }
                Step::Synchronize { label, event } => {
                    let event = instead.get(&event).copied().unwrap_or(event);
                    (event != EventId::NONE).then_some(Step::Synchronize { label, event })
                }
                other => Some(other),
            }
        });
    }
    drop_meetings_of(prepared, gone);
}

/// Replaces or drops the steps of a role; places stay beside them.
pub(super) fn edit_steps(
    prepared: &mut Prepared<'_>,
    role: usize,
    edit: impl Fn(Step, &HostPlace) -> Option<Step>,
) {
    let edited = &mut prepared.program.roles[role];
    let threads = std::iter::once(&mut edited.steps).chain(&mut edited.other_threads);
    for (steps, places) in threads.zip(&mut prepared.places[role]) {
        let kept: (Vec<Step>, Vec<HostPlace>) = std::mem::take(steps)
            .into_iter()
            .zip(std::mem::take(places))
            .filter_map(|(step, place)| Some((edit(step, &place)?, place)))
            .unzip();
        (*steps, *places) = kept;
    }
}

/// A collective that a member no longer takes part in goes on without it.
fn drop_meetings_of(prepared: &mut Prepared<'_>, gone: &BTreeSet<u32>) {
    for &work in gone {
        let Some(span) = prepared.work_span[work as usize] else { continue };
        let kind = &prepared.program.works[work as usize].kind;
        if let crate::program::WorkKind::Meeting { group, .. } = *kind {
            let process = prepared.recording.timeline.spans[span.0 as usize].process as usize;
            let members = &mut prepared.program.groups[group.0 as usize].members;
            members.retain(|&member| member != process);
        }
    }
}
