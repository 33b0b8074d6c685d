//! Checks that a program can run at all: sends match receives, events are recorded before the
//! host waits for them, blocks are closed.

use std::collections::BTreeMap;

use super::{Action, EventId, Program, Role, Step, Stream, Tag};

/// Why a program cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A transfer that one side posts more often than the other.
    #[error(
        "stage {from} sends {tag:?} to stage {to} {sent} times and it is received {received} times"
    )]
    Unmatched {
        /// Sending stage.
        from: u64,
        /// Receiving stage.
        to: u64,
        /// Which transfer.
        tag: Tag,
        /// Sends.
        sent: u32,
        /// Receives.
        received: u32,
    },
    /// An event that nothing before records.
    #[error(
        "stage {stage}: instruction {step} waits for event {event} that nothing before it records"
    )]
    UnrecordedEvent {
        /// Stage.
        stage: u64,
        /// Index of the instruction.
        step: usize,
        /// The event.
        event: u32,
    },
    /// A block that does not start and end on the compute stream.
    #[error("block `{0}` does not start and end on the compute stream")]
    OpenBlock(&'static str),
}

/// Verifies a program. With one host thread an event must be recorded by an instruction before the
/// one that waits for it; with several, whose instructions have no order among them, by any.
///
/// # Errors
///
/// The first problem found.
pub fn verify(program: &Program) -> Result<(), ProgramError> {
    for block in &program.blocks {
        let on_compute =
            |launch: Option<&super::Launch>| launch.is_some_and(|it| it.stream == Stream::Compute);
        if !on_compute(block.launches.first()) || !on_compute(block.launches.last()) {
            return Err(ProgramError::OpenBlock(block.label));
        }
    }
    let mut transfers: BTreeMap<(u64, u64, Tag), (u32, u32)> = BTreeMap::new();
    for role in &program.roles {
        verify_events(role)?;
        for step in role.threads().flatten() {
            let Step::Launch(launch) = step else { continue };
            match launch.action {
                Action::Send { stage, tag, .. } => {
                    transfers.entry((role.stage, u64::from(stage), tag)).or_default().0 += 1;
                }
                Action::Receive { stage, tag, .. } => {
                    transfers.entry((u64::from(stage), role.stage, tag)).or_default().1 += 1;
                }
                Action::Work(_) | Action::Block(_) | Action::OpenBlock(_) => {}
            }
        }
    }
    let unmatched = transfers.into_iter().find(|(_, (sent, received))| sent != received);
    match unmatched {
        Some(((from, to, tag), (sent, received))) => {
            Err(ProgramError::Unmatched { from, to, tag, sent, received })
        }
        None => Ok(()),
    }
}

fn verify_events(role: &Role) -> Result<(), ProgramError> {
    let mut recorded = vec![false; role.event_count as usize];
    let record = |step: &Step, recorded: &mut Vec<bool>| match step.records() {
        EventId::NONE => {}
        event => recorded[event.0 as usize] = true,
    };
    if !role.other_threads.is_empty() {
        role.threads().flatten().for_each(|step| record(step, &mut recorded));
    }
    for thread in role.threads() {
        for (index, step) in thread.iter().enumerate() {
            let waits: Vec<EventId> = match step {
                Step::Launch(launch) => launch.waits.iter().collect(),
                Step::Synchronize { event, .. } if *event != EventId::NONE => vec![*event],
                _ => Vec::new(),
            };
            if let Some(event) = waits.iter().find(|event| !recorded[event.0 as usize]) {
                return Err(ProgramError::UnrecordedEvent {
                    stage: role.stage,
                    step: index,
                    event: event.0,
                });
            }
            record(step, &mut recorded);
        }
    }
    Ok(())
}
