//! What a selector selects of a recording.

use std::collections::BTreeMap;

use super::Selector;
use crate::analysis::Intervals;
use crate::timeline::{Span, SpanId};
use crate::trace::Recording;
use crate::work::Class;

/// What of a recording a selector selects.
#[derive(Debug)]
pub struct Selection {
    /// By index of the span; of spans on devices that of their launch counts for places.
    spans: Vec<bool>,
    /// Host time by process and thread, in picoseconds; `None` where the selector names no place.
    within: Option<BTreeMap<(u32, u32), Intervals>>,
    steps: Option<BTreeMap<u32, Intervals>>,
    ranks: Vec<bool>,
}

impl Selection {
    /// Everything in a recording that fits.
    pub fn of(recording: &Recording, selector: &Selector) -> Self {
        let timeline = &recording.timeline;
        let ranks = timeline
            .processes
            .iter()
            .map(|process| selector.rank.is_none_or(|rank| rank == process.rank))
            .collect();
        let within = selector.within.as_ref().map(|pattern| {
            Intervals::by_place(timeline.frames.iter().filter_map(|frame| {
                let is_named = pattern.is_match(timeline.labels.name(frame.label));
                let place = (frame.process, frame.thread);
                is_named.then_some((place, (frame.start.ps(), frame.end.ps())))
            }))
        });
        let steps = selector.step.map(|number| {
            Intervals::by_place(timeline.steps.iter().filter_map(|step| {
                let stretch = (step.start.ps(), step.end.ps());
                (step.number == number).then_some((step.process, stretch))
            }))
        });
        let mut selection = Self { spans: Vec::new(), within, steps, ranks };
        let beside = selector.beside.map(|wanted| (wanted, beside_communication(recording)));
        let named = |span: &Span| {
            let name = || timeline.labels.name(span.label);
            selector.class.is_none_or(|class| class.holds(span.class))
                && selector.name.as_ref().is_none_or(|pattern| pattern.is_match(name()))
        };
        selection.spans = (0..timeline.spans.len())
            .map(|index| {
                let span = &timeline.spans[index];
                let asked = recording.launched_by[index];
                let asked = asked.map_or(span, |call| &timeline.spans[call.0 as usize]);
                named(span)
                    && beside.as_ref().is_none_or(|(wanted, beside)| beside[index] == *wanted)
                    && selection.holds_place(span.process, asked)
            })
            .collect();
        selection
    }

    /// The host time inside of frames; `None` where no frame is one of them.
    pub fn of_frames(
        recording: &Recording,
        is_one: impl Fn(&crate::timeline::Frame) -> bool,
    ) -> Option<Self> {
        let frames = recording.timeline.frames.iter().filter(|frame| is_one(frame));
        let selection = Self::of_stretches(
            recording,
            frames.map(|frame| ((frame.process, frame.thread), (frame.start.ps(), frame.end.ps()))),
        );
        let is_empty = selection.within.as_ref().is_none_or(BTreeMap::is_empty);
        (!is_empty).then_some(selection)
    }

    /// Stretches of host time, `((process, thread), (from, to))` in picoseconds.
    pub fn of_stretches(
        recording: &Recording,
        found: impl Iterator<Item = ((u32, u32), (u64, u64))>,
    ) -> Self {
        let ranks = vec![true; recording.timeline.processes.len()];
        Self { spans: Vec::new(), within: Some(Intervals::by_place(found)), steps: None, ranks }
    }

    fn holds_place(&self, process: u32, asked: &Span) -> bool {
        let crate::timeline::Lane::Thread(thread) = asked.lane else {
            // Nobody knows where it was launched from.
            return self.ranks[process as usize]
                && self.within.is_none()
                && self.covers_step(process, asked.start.ps());
        };
        self.covers(process, thread, asked.start.ps())
    }

    fn covers_step(&self, process: u32, at: u64) -> bool {
        let Some(steps) = &self.steps else { return true };
        steps.get(&process).is_some_and(|steps| steps.contains(at))
    }

    /// Whether a span is selected.
    pub fn has(&self, span: SpanId) -> bool {
        self.spans.get(span.0 as usize).copied().unwrap_or(false)
    }

    /// How many spans on devices are selected.
    pub fn device_count(&self, recording: &Recording) -> usize {
        let spans = self.spans.iter().zip(&recording.timeline.spans);
        spans.filter(|(selected, span)| **selected && !span.lane.is_host()).count()
    }

    /// Whether the place of a point in time on a host thread is selected, whatever happens there.
    pub fn covers(&self, process: u32, thread: u32, at: u64) -> bool {
        let is_within = match &self.within {
            None => true,
            Some(within) => {
                within.get(&(process, thread)).is_some_and(|within| within.contains(at))
            }
        };
        is_within && self.ranks[process as usize] && self.covers_step(process, at)
    }

    /// How much of a stretch on a host thread is selected, in picoseconds.
    pub fn covered(&self, process: u32, thread: u32, from: u64, to: u64) -> u64 {
        if to <= from || !self.ranks[process as usize] {
            return 0;
        }
        let within = self.within.as_ref().map(|within| within.get(&(process, thread)));
        let steps = self.steps.as_ref().map(|steps| steps.get(&process));
        match (within, steps) {
            (None, None) => to - from,
            (Some(Some(one)), None) | (None, Some(Some(one))) => one.covered(from, to),
            (Some(Some(within)), Some(Some(steps))) => {
                within.inside(from, to).map(|part| steps.covered(part.0, part.1)).sum()
            }
            (Some(None), _) | (_, Some(None)) => 0,
        }
    }
}

/// For each span, whether communication of its process covers at least half of it.
pub fn beside_communication(recording: &Recording) -> Vec<bool> {
    let spans = &recording.timeline.spans;
    let communicates = |span: &&Span| matches!(span.class, Class::Communication(_));
    let communication = Intervals::by_place(spans.iter().filter(communicates).map(|span| {
        let (from, to) = span.occupied();
        (span.process, (from.ps(), to.ps()))
    }));
    let is_beside = |span: &Span| {
        let (from, to) = (span.start.ps(), span.end.ps());
        let shared = communication.get(&span.process).map_or(0, |busy| busy.covered(from, to));
        !communicates(&span) && !span.lane.is_host() && shared > 0 && 2 * shared >= to - from
    };
    spans.iter().map(is_beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::what_if::Change;
    use crate::timeline::FrameKind;
    use crate::trace::{Builder, Classes, DeviceEvent, DeviceKind, HostCall, HostFrame};

    fn recording() -> Recording {
        let classes = Classes::shipped();
        let mut builder = Builder::new("a", &classes);
        for (name, stream, start_ns, correlation) in
            [("sgemm_a", 7, 150, 1), ("sgemm_b", 7, 350, 2), ("ncclAllReduce", 8, 340, 3)]
        {
            builder.device_event(DeviceEvent {
                kind: DeviceKind::Kernel,
                device: 0,
                stream,
                name,
                start_ns,
                end_ns: start_ns + 100,
                correlation: Some(correlation),
                context: 0,
                bytes: None,
                collective: None,
            });
            builder.host_call(HostCall {
                pid: 1,
                thread: 1,
                name: "cudaLaunchKernel",
                start_ns: start_ns - 50,
                end_ns: start_ns - 40,
                correlation: Some(correlation),
                context: 0,
            });
        }
        let kind = FrameKind::Operator;
        builder.frame(HostFrame {
            pid: 1,
            thread: 1,
            kind,
            name: "aten::mm",
            start_ns: 90,
            end_ns: 190,
        });
        builder.step(1, 1, 80, 200);
        builder.step(1, 2, 200, 500);
        builder.finish()
    }

    /// Names of the device spans that a selector selects.
    fn selected(select: &str) -> Vec<String> {
        let recording = recording();
        let change = Change::parse(&format!("scale kernels time=1 {select}")).unwrap();
        let Change::ScaleKernels { select, .. } = change else { unreachable!() };
        let selection = Selection::of(&recording, &select);
        (0..recording.timeline.spans.len() as u32)
            .map(SpanId)
            .filter(|&span| selection.has(span) && recording.is_device(span))
            .map(|span| recording.name(span).to_owned())
            .collect()
    }

    #[test]
    fn kernels_are_selected_by_name_class_place_step_and_neighbour() {
        assert_eq!(selected("name=SGEMM"), ["sgemm_a", "sgemm_b"]);
        assert_eq!(selected("class=communication"), ["ncclAllReduce"]);
        assert_eq!(selected("within=aten::mm"), ["sgemm_a"]);
        assert_eq!(selected("step=2"), ["ncclAllReduce", "sgemm_b"]);
        assert_eq!(selected("beside=communication"), ["sgemm_b"]);
        assert_eq!(selected("rank=1"), Vec::<String>::new());
    }

    #[test]
    fn host_time_is_covered_where_place_and_step_meet() {
        let recording = recording();
        let Change::RemoveHost { select } = Change::parse("remove host within=mm step=1").unwrap()
        else {
            unreachable!()
        };
        let selection = Selection::of(&recording, &select);
        // The timeline starts at 80 ns: the frame is 10..110 ns, the step 0..120 ns.
        assert_eq!(selection.covered(0, 0, 0, 50_000), 40_000);
        assert_eq!(selection.covered(0, 0, 100_000, 500_000), 10_000);
        assert!(selection.covers(0, 0, 20_000) && !selection.covers(0, 0, 110_000));
    }
}
