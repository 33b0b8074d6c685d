//! Writing down what happened.

use super::state::Queued;
use super::{Costs, Record};
use crate::program::{Action, EventId, Program, Step, Stream};
use crate::timeline::{Arrow, Call, LabelId, Lane, Process, Span, SpanId, Timeline};
use crate::units::{Bytes, Instant};
use crate::work::Class;

/// Builds the timeline.
pub(super) struct Recorder {
    record: Record,
    timeline: Timeline,
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
            program.works.iter().map(|work| timeline.labels.intern(work.label)).collect();
        let block_labels =
            program.blocks.iter().map(|block| timeline.labels.intern(block.label)).collect();
        Self { record, timeline, work_labels, block_labels }
    }

    pub(super) fn finish(self) -> Timeline {
        self.timeline
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
            Action::Work(work) => program.work(work).label.to_owned(),
            Action::Block(_) | Action::OpenBlock(_) => name.to_owned(),
        }
    }

    /// Name of what records an event of a role.
    pub(super) fn who_records(&self, program: &Program, role: usize, event: EventId) -> String {
        let steps = &program.roles[role].steps;
        let recorder = steps.iter().find_map(|step| match step {
            Step::Launch(launch) if launch.records == event => Some(launch.action),
            _ => None,
        });
        recorder.map_or_else(|| "nothing".to_owned(), |action| self.label_of(program, action))
    }

    /// The host was busy.
    pub(super) fn host(
        &mut self,
        rank: usize,
        label: &str,
        call: Option<Call>,
        start: Instant,
        end: Instant,
    ) {
        if self.record >= Record::Devices {
            let label = self.timeline.labels.intern(label);
            self.push_host(rank, label, call, start, end);
        }
    }

    /// The host launched something; gives the span of the launch if it is kept.
    pub(super) fn host_launch(
        &mut self,
        rank: usize,
        action: Action,
        start: Instant,
        end: Instant,
    ) -> Option<SpanId> {
        if self.record < Record::DevicesAndHosts {
            return None;
        }
        let label = self.label(action);
        let span = self.next_span();
        self.push_host(rank, label, Some(Call::Launch), start, end);
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
        rank: usize,
        label: LabelId,
        call: Option<Call>,
        start: Instant,
        end: Instant,
    ) {
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane: Lane::Host,
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

    /// Work on the compute stream ended.
    pub(super) fn compute(
        &mut self,
        program: &Program,
        rank: usize,
        queued: &Queued<'_>,
        start: Instant,
        ready: Instant,
        end: Instant,
    ) {
        if self.record == Record::Nothing {
            return;
        }
        let (class, bytes, breakdown) = match queued.launch.action {
            Action::Block(block) | Action::OpenBlock(block) => {
                (Class::Gemm, Bytes::ZERO, Some(block.0))
            }
            Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
                let work = program.work(work);
                (work.class(), work.bytes(), None)
            }
        };
        self.launch_arrow(queued);
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane: Lane::Compute,
            start,
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
        stream: Stream,
        queued: &Queued<'_>,
        times: [Instant; 3],
    ) -> Option<SpanId> {
        if self.record == Record::Nothing {
            return None;
        }
        let [start, ready, end] = times;
        let (Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. }) =
            queued.launch.action
        else {
            unreachable!("blocks do not communicate as a whole")
        };
        let work = program.work(work);
        let lane =
            stream.lane().map_or(Lane::Compute, |(axis, number)| Lane::Communication(axis, number));
        self.launch_arrow(queued);
        let span = self.next_span();
        self.timeline.spans.push(Span {
            process: rank as u32,
            lane,
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
