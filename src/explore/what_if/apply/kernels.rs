//! Kernels that are gone, or merged with their neighbours.

use std::collections::{BTreeMap, BTreeSet};

use crate::explore::what_if::{Selection, Selector};
use crate::program::{Action, EventId, Launch, Step, Stream, Waits, WorkId};
use crate::replay::{HostPlace, HostWork, Prepared};

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

/// Launches of a role by stream, in the order of the works, which is that of being put on streams;
/// without joins of waits.
pub(super) fn streams(
    prepared: &Prepared<'_>,
    role: usize,
) -> BTreeMap<Stream, BTreeMap<u32, Launch>> {
    let mut streams: BTreeMap<Stream, BTreeMap<u32, Launch>> = BTreeMap::new();
    for step in prepared.program.roles[role].threads().flatten() {
        if let Some((work, launch)) = launched(step)
            && prepared.work_span[work as usize].is_some()
        {
            streams.entry(launch.stream).or_default().insert(work, *launch);
        }
    }
    streams
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
        edit_launches(prepared, role, |work, _, waits| {
            for event in waits {
                *event = instead.get(event).copied().unwrap_or(*event);
            }
            !gone.contains(&work)
        });
        edit_steps(prepared, role, |step, place| {
            let is_its_call = matches!(place.work, HostWork::Call(call) if calls.contains(&call));
            match step {
                Step::Host { .. } if is_its_call => None,
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
    edit_threads(prepared, role, |_, step, place, edited| {
        edited.extend(edit(step, &place).map(|step| (step, place)));
    });
}

/// Edits launches together with all that they wait for: of more events than one instruction can
/// name, those beyond are waited for by joins in front of it. Drops those that `edit` refuses.
pub(super) fn edit_launches(
    prepared: &mut Prepared<'_>,
    role: usize,
    mut edit: impl FnMut(u32, &mut Launch, &mut Vec<EventId>) -> bool,
) {
    let (mut joins, mut waits) = (Vec::new(), Vec::new());
    edit_threads(prepared, role, |prepared, step, place, edited| {
        let Some((work, &launch)) = launched(&step) else {
            edited.push((step, place));
            return;
        };
        waits.extend(launch.waits.iter());
        if prepared.work_span[work as usize].is_none() {
            joins.push(work);
            return;
        }
        let (mut launch, mut own) = (launch, std::mem::take(&mut waits));
        let mut known = std::mem::take(&mut joins).into_iter();
        if !edit(work, &mut launch, &mut own) {
            return;
        }
        let mut seen = BTreeSet::from([EventId::NONE]);
        own.retain(|&event| seen.insert(event));
        let mut chunks = own.chunks(Waits::NONE.0.len());
        launch.waits = Waits::on(chunks.next_back().unwrap_or(&[]));
        for events in chunks {
            let join = known.next().map_or_else(|| prepared.add_join(), WorkId);
            let (action, waits) = (Action::Work(join), Waits::on(events));
            let join = Launch { action, waits, records: EventId::NONE, ..launch };
            edited.push((Step::Launch(join), place));
        }
        edited.push((Step::Launch(launch), place));
    });
}

/// Edits steps one by one, in order: each is given away and what comes in its place is pushed.
fn edit_threads(
    prepared: &mut Prepared<'_>,
    role: usize,
    mut edit: impl FnMut(&mut Prepared<'_>, Step, HostPlace, &mut Vec<(Step, HostPlace)>),
) {
    for thread in 0..prepared.places[role].len() {
        let places = std::mem::take(&mut prepared.places[role][thread]);
        let steps = std::mem::take(steps_of(prepared, role, thread));
        let mut edited = Vec::with_capacity(steps.len());
        for (step, place) in steps.into_iter().zip(places) {
            edit(prepared, step, place, &mut edited);
        }
        let (steps, places) = edited.into_iter().unzip();
        *steps_of(prepared, role, thread) = steps;
        prepared.places[role][thread] = places;
    }
}

fn steps_of<'p>(prepared: &'p mut Prepared<'_>, role: usize, thread: usize) -> &'p mut Vec<Step> {
    let role = &mut prepared.program.roles[role];
    match thread.checked_sub(1) {
        None => &mut role.steps,
        Some(other) => &mut role.other_threads[other],
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
