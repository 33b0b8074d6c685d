//! Writing down what happened.

use super::state::Queued;
use super::{Costs, Record};
use crate::program::{Action, BlockId, EventId, Program, Step, WorkId};
use crate::timeline::{Arrow, Call, LabelId, Lane, Process, Span, SpanId, Timeline};
use crate::units::{Bytes, Instant};
use crate::work::Class;

/// What a span comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Work on a device.
    Work(WorkId),
    /// A block on a device.
    Block(BlockId),
    /// An instruction of a host thread.
    Step {
        /// Host thread of the rank, 0 for the main one.
        thread: u16,
        /// Index of the instruction.
        step: u32,
    },
}

/// Builds the timeline.
pub(super) struct Recorder {
    record: Record,
    timeline: Timeline,
    /// What each span comes from, if that is to be kept.
    origins: Vec<Origin>,
    work_labels: Vec<LabelId>,
    block_labels: Vec<LabelId>,
}

impl Recorder {
    pub(super) fn new(program: &Program, costs: &Costs, record: Record) -> Self {
        let mut timeline = Timeline {
            processes: program
                .ranks
                .iter()
                .map(|entry| Process {
                    rank: entry.rank,
                    stage: Some(program.roles[entry.role].stage),
                    multiplicity: entry.multiplicity,
                })
                .collect(),
            breakdowns: costs.blocks.iter().map(|block| block.breakdown.clone()).collect(),
            ..Timeline::default()
        };
        let work_labels =
            program.works.iter().map(|work| timeline.labels.intern(&work.label)).collect();
        let block_labels =
            program.blocks.iter().map(|block| timeline.labels.intern(block.label)).collect();
        Self { record, timeline, origins: Vec::new(), work_labels, block_labels }
    }

    pub(super) fn finish(self) -> (Timeline, Vec<Origin>) {
        (self.timeline, self.origins)
    }

    fn next_span(&self) -> SpanId {
        SpanId(self.timeline.spans.len() as u32)
    }

    fn label(&self, action: Action) -> LabelId {
        match action {
            Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
                self.work_labels[work.0 as usize]
            }
            Action::Block(block) | Action::OpenBlock(block) => self.block_labels[block.0 as usize],
        }
    }

    /// Name of what an action does.
    pub(super) fn label_of(&self, program: &Program, action: Action) -> String {
        let name = self.timeline.labels.name(self.label(action));
        match action {
            Action::Send { stage, tag, .. } => {
                format!("send {name}, micro-batch {}, to stage {stage}", tag.micro_batch)
            }
            Action::Receive { stage, tag, .. } => {
                format!("receive {name}, micro-batch {}, from stage {stage}", tag.micro_batch)
            }
            Action::Work(work) => program.work(work).label.clone().into_owned(),
            Action::Block(_) | Action::OpenBlock(_) => name.to_owned(),
        }
    }

    /// Name of what records an event of a role.
    pub(super) fn who_records(&self, program: &Program, role: usize, event: EventId) -> String {
        let mut recorders =
            program.roles[role].threads().enumerate().flat_map(|(thread, steps)| {
                steps.iter().filter(|step| step.records() == event).map(move |step| (thread, step))
            });
        match recorders.next() {
            Some((_, Step::Launch(launch))) => self.label_of(program, launch.action),
            Some((thread, _)) => format!("a signal of host thread {thread}"),
            None => "nothing".to_owned(),
        }
    }

    /// A host thread was busy, or waited.
    pub(super) fn host(
        &mut self,
        program: &Program,
        rank: usize,
        origin: Origin,
        (label, call): (&str, Option<Call>),
        times: [Instant; 2],
    ) {
        let took_time = times[1] > times[0];
        if self.record >= if took_time { Record::Devices } else { Record::Everything } {
            let label = self.timeline.labels.intern(label);
            self.push_host(program, rank, origin, (label, call), times);
        }
    }

    /// The host launched something; gives the span of the launch if it is kept.
    pub(super) fn host_launch(
        &mut self,
        program: &Program,
        rank: usize,
        origin: Origin,
        action: Action,
        times: [Instant; 2],
    ) -> Option<SpanId> {
        if self.record < Record::DevicesAndHosts {
            return None;
        }
        let label = self.label(action);
        let span = self.next_span();
        self.push_host(program, rank, origin, (label, Some(Call::Launch)), times);
        Some(span)
    }

    /// Connects a launch with the span that is written next.
    fn launch_arrow(&mut self, queued: &Queued) {
        if let Some(from) = queued.host_span {
            let to = self.next_span();
            self.timeline.arrows.push(Arrow { from, to });
        }
    }

    fn push_host(
        &mut self,
        program: &Program,
        rank: usize,
        origin: Origin,
        (label, call): (LabelId, Option<Call>),
        [start, end]: [Instant; 2],
    ) {
        let lane = match origin {
            Origin::Step { thread, .. } => {
                program.roles[program.ranks[rank].role].host_lane(usize::from(thread))
            }
            Origin::Work(_) | Origin::Block(_) => Lane::Host,
        };
        self.note_origin(origin);
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane,
            start,
            end,
            ready: start,
            launched: start,
            label,
            class: Class::Host,
            call,
            task: None,
            bytes: Bytes::ZERO,
            breakdown: None,
        });
    }

    fn note_origin(&mut self, origin: Origin) {
        if self.record == Record::Everything {
            self.origins.push(origin);
        }
    }

    /// A kernel or a block ended; `times` are ready and end.
    pub(super) fn compute(
        &mut self,
        program: &Program,
        rank: usize,
        queued: &Queued<'_>,
        [ready, end]: [Instant; 2],
    ) {
        if self.record == Record::Nothing {
            return;
        }
        let (origin, class, bytes, breakdown) = match queued.launch.action {
            Action::Block(block) | Action::OpenBlock(block) => {
                (Origin::Block(block), Class::Gemm, Bytes::ZERO, Some(block.0))
            }
            Action::Work(id) | Action::Send { work: id, .. } | Action::Receive { work: id, .. } => {
                let work = program.work(id);
                (Origin::Work(id), work.class(), work.bytes(), None)
            }
        };
        self.launch_arrow(queued);
        self.note_origin(origin);
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane: queued.launch.stream.lane(),
            start: ready,
            end,
            ready,
            launched: queued.launched,
            label: self.label(queued.launch.action),
            class,
            call: None,
            task: queued.launch.task,
            bytes,
            breakdown,
        });
    }

    /// Communication ended on one of its members; `times` are start, ready and end. Gives its span
    /// if it is kept.
    pub(super) fn communication(
        &mut self,
        program: &Program,
        rank: usize,
        queued: &Queued<'_>,
        times: [Instant; 3],
    ) -> Option<SpanId> {
        if self.record == Record::Nothing {
            return None;
        }
        let [start, ready, end] = times;
        let (Action::Work(id) | Action::Send { work: id, .. } | Action::Receive { work: id, .. }) =
            queued.launch.action
        else {
            unreachable!("blocks do not communicate as a whole")
        };
        let work = program.work(id);
        self.launch_arrow(queued);
        self.note_origin(Origin::Work(id));
        let span = self.next_span();
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane: queued.launch.stream.lane(),
            start,
            end,
            ready,
            launched: queued.launched,
            label: self.label(queued.launch.action),
            class: work.class(),
            call: None,
            task: queued.launch.task,
            bytes: work.bytes(),
            breakdown: None,
        });
        Some(span)
    }

    /// Connects the two spans of a transfer.
    pub(super) fn arrow(&mut self, from: SpanId, to: SpanId) {
        self.timeline.arrows.push(Arrow { from, to });
    }
}
