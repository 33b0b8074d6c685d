//! Putting what was collected on one clock, in order, and connected.

use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

use super::said::Said;
use super::{Builder, Device, Host};
use crate::timeline::{
    Arrow, Frame, Lane, MemorySample, Process, Span, SpanId, StepMark, Timeline,
};
use crate::trace::{
    Communication, Operator, Recording, Source, StreamWait, SynchronizedOn, WaitTarget,
};
use crate::units::{Bytes, Instant};
use crate::work::Class;

/// Where things went.
struct Places {
    origin_ns: i64,
    /// Index of the process of a device.
    processes: BTreeMap<u64, u32>,
    /// Number of a stream of a device.
    streams: BTreeMap<(u64, i64), u32>,
    /// Index of the process of a thread.
    thread_process: Vec<u32>,
    /// The span of a call, by context and correlation.
    calls: FxHashMap<(u64, u64), SpanId>,
}

/// A row of the span table before it is one.
#[derive(Clone, Copy)]
enum Row {
    Call(u32),
    Device(u32),
}

impl Builder<'_> {
    /// The recording of all that was collected.
    pub fn finish(mut self) -> Recording {
        self.hear();
        let communications = self.communications();
        let mut places = self.places();
        let rows = self.rows();
        let mut recording = Recording {
            origin_ns: places.origin_ns.saturating_add(self.base_ns),
            sources: self.sources(&places),
            partial: std::mem::take(&mut self.partial),
            ..Recording::default()
        };
        recording.timeline.processes = recording
            .sources
            .iter()
            .zip(0..)
            .map(|(source, index)| Process {
                rank: source.rank.or(source.device).unwrap_or(index),
                stage: None,
                multiplicity: 1,
            })
            .collect();
        self.lane_names(&places, &mut recording.timeline);
        self.frames(&places, &mut recording);
        recording.timeline.labels = std::mem::take(&mut self.labels);
        self.spans(&rows, &communications, &mut places, &mut recording);
        self.arrows(&mut recording, &rows, &places);
        self.waits(&places, &mut recording);
        self.steps_and_memory(&places, &mut recording.timeline);
        tell_lost_launches(&mut recording);
        recording
    }

    fn places(&mut self) -> Places {
        let starts = self.device_events.iter().map(|event| event.start_ns);
        let starts = starts.chain(self.host_calls.iter().map(|call| call.start_ns));
        let starts = starts.chain(self.frames.iter().map(|frame| frame.start_ns));
        let starts = starts.chain(self.steps.iter().map(|step| step.1));
        let origin_ns = starts.min().unwrap_or(0);
        let mut devices: BTreeSet<u64> =
            self.device_events.iter().map(|event| event.device).collect();
        if devices.is_empty() {
            devices.extend(self.device_names.keys().take(1));
        }
        let mut processes: BTreeMap<u64, u32> = devices.into_iter().zip(0..).collect();
        if processes.is_empty() {
            processes.insert(0, 0);
        }
        let lanes: BTreeSet<(u64, i64)> =
            self.device_events.iter().map(|event| (event.device, event.stream)).collect();
        let mut streams = BTreeMap::new();
        let mut count: BTreeMap<u64, u32> = BTreeMap::new();
        for (device, stream) in lanes {
            let next = count.entry(device).or_default();
            streams.insert((device, stream), *next);
            *next += 1;
        }
        let thread_process = self.thread_processes(&processes);
        Places { origin_ns, processes, streams, thread_process, calls: FxHashMap::default() }
    }

    /// The process of each thread: that of the device on which it put most work.
    fn thread_processes(&self, processes: &BTreeMap<u64, u32>) -> Vec<u32> {
        let count = self.threads.keys.len();
        if processes.len() < 2 {
            return vec![0; count];
        }
        let callers: FxHashMap<(u64, u64), u32> = self
            .host_calls
            .iter()
            .filter_map(|call| Some(((call.context, call.correlation?), call.thread)))
            .collect();
        let mut launches = vec![vec![0_u32; processes.len()]; count];
        // What a process launched anywhere speaks for its threads that launched nothing.
        let mut by_pid: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for event in &self.device_events {
            let key = event.correlation.map(|correlation| (event.context, correlation));
            let Some(&thread) = key.and_then(|key| callers.get(&key)) else { continue };
            let process = processes[&event.device] as usize;
            launches[thread as usize][process] += 1;
            let pid = self.threads.keys[thread as usize].0;
            by_pid.entry(pid).or_insert_with(|| vec![0; processes.len()])[process] += 1;
        }
        let most = |counts: &Vec<u32>| {
            let best = counts.iter().max().copied().filter(|&most| most > 0)?;
            counts.iter().position(|&count| count == best)
        };
        let of_thread = |thread: usize| {
            let pid = self.threads.keys[thread].0;
            let process = most(&launches[thread]).or_else(|| by_pid.get(&pid).and_then(most));
            // Files of several ranks number processes by rank, as they do devices.
            process
                .map_or_else(|| processes.get(&pid).copied().unwrap_or(0), |process| process as u32)
        };
        (0..count).map(of_thread).collect()
    }

    /// Calls and device work in order of their starts, calls first.
    fn rows(&self) -> Vec<Row> {
        let calls = (0..self.host_calls.len() as u32).map(Row::Call);
        let devices = (0..self.device_events.len() as u32).map(Row::Device);
        let mut rows: Vec<Row> = calls.chain(devices).collect();
        rows.sort_by_key(|row| match *row {
            Row::Call(index) => (self.host_calls[index as usize].start_ns, 0, index),
            Row::Device(index) => (self.device_events[index as usize].start_ns, 1, index),
        });
        rows
    }

    fn sources(&self, places: &Places) -> Vec<Source> {
        let single = places.processes.len() == 1;
        let source = |&device: &u64| Source {
            file: self.file.clone(),
            rank: self.rank.filter(|_| single).or(self.ranks.get(&device).copied()),
            world_size: self.world_size,
            device: (!self.device_events.is_empty()).then_some(device),
            device_name: self.device_names.get(&device).cloned(),
            events_without_launch: 0,
        };
        places.processes.keys().map(source).collect()
    }

    fn lane_names(&mut self, places: &Places, timeline: &mut Timeline) {
        for (number, &(pid, thread)) in (0..).zip(&self.threads.keys) {
            let name = match self.thread_names.get(&(pid, thread)) {
                Some(name) => format!("thread {thread} ({name})"),
                None => format!("thread {thread}"),
            };
            let process = places.thread_process[number as usize];
            timeline.lane_names.push((process, Lane::Thread(number), self.labels.intern(&name)));
        }
        for (&(device, stream), &number) in &places.streams {
            let name = self.labels.intern(&format!("stream {stream}"));
            timeline.lane_names.push((places.processes[&device], Lane::Stream(number), name));
        }
        timeline.lane_names.sort_unstable();
    }

    fn frames(&mut self, places: &Places, recording: &mut Recording) {
        let frames = std::mem::take(&mut self.frames);
        let process = |thread: u32| places.thread_process[thread as usize];
        let mut order: Vec<u32> = (0..frames.len() as u32).collect();
        order.sort_by_key(|&index| {
            let frame = &frames[index as usize];
            let outer_first = std::cmp::Reverse(frame.end_ns);
            (process(frame.thread), frame.thread, frame.start_ns, outer_first, index)
        });
        let mut place = vec![0_u32; frames.len()];
        for (now, &before) in (0..).zip(&order) {
            place[before as usize] = now;
        }
        recording.timeline.frames = order
            .iter()
            .map(|&index| &frames[index as usize])
            .map(|frame| Frame {
                process: process(frame.thread),
                thread: frame.thread,
                kind: frame.kind,
                purpose: frame.purpose,
                start: places.instant(frame.start_ns),
                end: places.instant(frame.end_ns),
                label: frame.label,
            })
            .collect();
        recording.operators = std::mem::take(&mut self.operators)
            .into_iter()
            .map(|(frame, shapes, dtypes)| Operator {
                frame: place[frame as usize],
                shapes,
                dtypes,
            })
            .collect();
        recording.operators.sort_by_key(|operator| operator.frame);
    }

    /// What collectives say, by their index; their spans are not known yet.
    fn communications(&mut self) -> Vec<Communication> {
        let collectives = std::mem::take(&mut self.collectives);
        let communication = |said: Said| Communication {
            span: SpanId(0),
            kind: said.kind,
            bytes: said.bytes().map(Bytes::new),
            is_uneven: said.is_uneven(),
            dtype: said.dtype(&mut self.labels),
            communicator: said.group,
            group_size: said.members(),
            ranks: said.ranks,
            sequence: said.sequence,
        };
        collectives.into_iter().map(|it| it.said).map(communication).collect()
    }

    fn spans(
        &self,
        rows: &[Row],
        communications: &[Communication],
        places: &mut Places,
        recording: &mut Recording,
    ) {
        for (index, row) in (0..).zip(rows) {
            let span = match *row {
                Row::Call(call) => {
                    let call = &self.host_calls[call as usize];
                    if let Some(correlation) = call.correlation {
                        places.note_call(
                            (call.context, correlation),
                            SpanId(index),
                            call,
                            &recording.timeline,
                        );
                    }
                    places.call_span(call)
                }
                Row::Device(event) => {
                    let event = &self.device_events[event as usize];
                    let said = event.collective.map(|it| &communications[it as usize]);
                    recording.communications.extend(
                        said.map(|said| Communication { span: SpanId(index), ..said.clone() }),
                    );
                    let said = said.and_then(|said| said.bytes).map(Bytes::value);
                    places.device_span(event, said.unwrap_or(event.bytes as f64))
                }
            };
            recording.timeline.spans.push(span);
        }
    }

    /// Arrows from calls to what they launched.
    fn arrows(&self, recording: &mut Recording, rows: &[Row], places: &Places) {
        let grid = |row: &Row| match *row {
            Row::Call(_) => None,
            Row::Device(event) => self.device_events[event as usize].grid,
        };
        recording.grids = rows.iter().map(grid).collect();
        recording.launched_by = vec![None; rows.len()];
        for (index, row) in (0..).zip(rows) {
            let Row::Device(event) = *row else { continue };
            let event = &self.device_events[event as usize];
            let key = event.correlation.map(|correlation| (event.context, correlation));
            let Some(&call) = key.and_then(|key| places.calls.get(&key)) else {
                let process = places.processes[&event.device] as usize;
                recording.sources[process].events_without_launch += 1;
                continue;
            };
            recording.launched_by[index as usize] = Some(call);
            recording.timeline.arrows.push(Arrow { from: call, to: SpanId(index) });
            let launched = recording.timeline.spans[call.0 as usize].end;
            let span = &mut recording.timeline.spans[index as usize];
            span.launched = launched.min(span.start);
        }
    }

    fn waits(&mut self, places: &Places, recording: &mut Recording) {
        let mut told: BTreeSet<SpanId> = BTreeSet::new();
        for (said, is_known) in std::mem::take(&mut self.synchronizations) {
            let find =
                |correlation: Option<u64>| places.calls.get(&(said.context, correlation?)).copied();
            let call = find(said.correlation);
            let stream = |stream: Option<i64>| places.streams.get(&(said.device, stream?)).copied();
            let record = find(said.record);
            if said.stream_waits {
                told.extend(call);
                let target = WaitTarget { stream: stream(said.event_stream), record };
                recording.waits.push(StreamWait {
                    process: places.processes.get(&said.device).copied().unwrap_or(0),
                    stream: stream(said.stream),
                    call,
                    at: places.instant(said.start_ns),
                    target: is_known.then_some(target),
                });
            } else if let Some(call) = call {
                let waited = stream(said.event_stream).or(stream(said.stream));
                let target = WaitTarget { stream: waited, record };
                recording.synchronized.push(SynchronizedOn { call, target });
            }
        }
        for (index, span) in (0..).zip(&recording.timeline.spans) {
            let is_wait = span.call == Some(crate::timeline::Call::WaitEvent);
            if is_wait && !told.contains(&SpanId(index)) {
                recording.waits.push(StreamWait {
                    process: span.process,
                    stream: None,
                    call: Some(SpanId(index)),
                    at: span.start,
                    target: None,
                });
            }
        }
        recording.waits.sort_by_key(|wait| (wait.at, wait.call));
        recording.synchronized.sort_by_key(|synchronized| synchronized.call);
    }

    /// Steps of each process: those that its own process on the host marks; where that marks none
    /// or is not known, those of all.
    fn steps_by_process(&self, places: &Places) -> Vec<BTreeSet<(u64, i64, i64)>> {
        let mut pids = vec![BTreeSet::new(); places.processes.len()];
        for (&(pid, _), &process) in self.threads.keys.iter().zip(&places.thread_process) {
            pids[process as usize].insert(pid);
        }
        let marks = |keep: &dyn Fn(u64) -> bool| -> BTreeSet<(u64, i64, i64)> {
            let kept = self.steps.iter().filter(|step| keep(step.3));
            kept.map(|&(number, start, end, _)| (number, start, end)).collect()
        };
        let of_process = |(device, own): (&u64, &BTreeSet<u64>)| {
            // A file of several ranks says whose each is.
            if self.ranks.contains(device) {
                return marks(&|pid| pid == *device);
            }
            match marks(&|pid| own.contains(&pid)) {
                own if own.is_empty() => marks(&|_| true),
                own => own,
            }
        };
        places.processes.keys().zip(&pids).map(of_process).collect()
    }

    fn steps_and_memory(&mut self, places: &Places, timeline: &mut Timeline) {
        for (process, marks) in (0..).zip(self.steps_by_process(places)) {
            timeline.steps.extend(marks.into_iter().map(|(number, start, end)| StepMark {
                process,
                number,
                start: places.instant(start),
                end: places.instant(end),
            }));
        }
        for &(device, at, allocated) in &self.memory {
            let Some(&process) = places.processes.get(&device) else { continue };
            let at = places.instant(at);
            let allocated = Bytes::new(allocated);
            timeline.memory.push(MemorySample { process, at, allocated });
        }
        timeline.memory.sort_by_key(|sample| (sample.process, sample.at));
    }
}

impl Places {
    /// A point on the recorder's clock; what is too far off for the simulated clock is at its end.
    fn instant(&self, at_ns: i64) -> Instant {
        let since = u64::try_from(at_ns.saturating_sub(self.origin_ns)).unwrap_or(0);
        Instant::from_ps(since.saturating_mul(1000))
    }

    /// Remembers a call by what its launches bear. Where several bear the same, the one that puts
    /// work on a stream counts, and of these the first.
    fn note_call(&mut self, key: (u64, u64), span: SpanId, call: &Host, timeline: &Timeline) {
        let known = self.calls.get(&key).and_then(|it| timeline.spans[it.0 as usize].call);
        let is_better = call.call.puts_work() && known.is_some_and(|known| !known.puts_work());
        if known.is_none() || is_better {
            self.calls.insert(key, span);
        }
    }

    fn call_span(&self, call: &Host) -> Span {
        let start = self.instant(call.start_ns);
        Span {
            process: self.thread_process[call.thread as usize],
            lane: Lane::Thread(call.thread),
            start,
            end: self.instant(call.end_ns),
            ready: start,
            launched: start,
            label: call.label,
            class: Class::Host,
            call: Some(call.call),
            task: None,
            bytes: Bytes::ZERO,
            breakdown: None,
        }
    }

    fn device_span(&self, event: &Device, bytes: f64) -> Span {
        let start = self.instant(event.start_ns);
        Span {
            process: self.processes[&event.device],
            lane: Lane::Stream(self.streams[&(event.device, event.stream)]),
            start,
            end: self.instant(event.end_ns),
            ready: start,
            launched: start,
            label: event.label,
            class: event.class,
            call: None,
            task: None,
            bytes: Bytes::new(bytes),
            breakdown: None,
        }
    }
}

/// A recording whose launches are mostly not there tells little of hosts, and says so.
fn tell_lost_launches(recording: &mut Recording) {
    let works = recording.timeline.spans.iter().zip(&recording.launched_by);
    let launches = works.filter(|(span, _)| !span.lane.is_host()).map(|(_, launch)| launch);
    let (count, lost) = launches.fold((0_u64, 0_u64), |(count, lost), launch| {
        (count + 1, lost + u64::from(launch.is_none()))
    });
    if 2 * lost > count {
        recording.partial.push(format!(
            "{lost} of {count} GPU events have no launch in the file, so that most of what the \
             host did is not there"
        ));
    }
}
