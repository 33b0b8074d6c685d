//! Chrome trace-event JSON, which ui.perfetto.dev and the readers of PyTorch traces open.
//!
//! A process is a rank, named after its stage and how many ranks it stands for; its threads are
//! the host, the compute stream and the communication streams; a counter shows memory. Arrows
//! (flow events) go from a launch on the host to what it launched (`ac2g`, as Kineto names them)
//! and from sends to receives. Kernels have `cat` `kernel`, launches `cuda_runtime`, and
//! collectives are named `nccl:...`, which is how tools tell them apart.
//!
//! Recorded timelines are written as PyTorch writes them: frames as `cpu_op`, `user_annotation` and
//! `python_function`, calls as `cuda_runtime`, copies and fills as `gpu_memcpy` and `gpu_memset`; a
//! kernel that communicates is drawn from when it held its stream on, waiting included. Steps that
//! no frame says are a thread of their own. Processes and devices are numbered by rank, and a file
//! of several says so (`ranks`), so that read back it is what it was.
//!
//! Times are microseconds with three decimals. Borders are rounded, not lengths, so that slices
//! which touch still touch and none overlap. The rest of the picosecond clock is below what the
//! viewers keep.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};

use super::{Report, Style, Subject};
use crate::timeline::{Frame, FrameKind, Lane, Span, Timeline};
use crate::trace::call as meaning;
use crate::units::Instant;
use crate::work::{Class, Pass};

mod track;

use track::{thread, title};

/// Chrome trace-event JSON.
#[derive(Clone, Copy, Debug)]
pub struct Perfetto;

impl Report for Perfetto {
    fn name(&self) -> &'static str {
        "perfetto"
    }

    fn write(&self, subject: &Subject, _: Style, out: &mut dyn Write) -> io::Result<()> {
        write_trace(subject.timeline, out)
    }
}

/// Writes a timeline as it goes; nothing of the size of the trace is held in memory.
///
/// # Errors
///
/// When the writer fails.
pub fn write_trace(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\"schemaVersion\":1,\"displayTimeUnit\":\"ms\",")?;
    // Readers of PyTorch traces expect one rank a file; a file of several is no one rank's.
    match timeline.processes.as_slice() {
        [process] => write!(out, "\"distributedInfo\":{{\"rank\":{}}},", process.rank)?,
        several => {
            let ranks: Vec<String> = several.iter().map(|it| it.rank.to_string()).collect();
            write!(out, "\"ranks\":[{}],", ranks.join(","))?;
        }
    }
    out.write_all(b"\"traceEvents\":[")?;
    let mut events = Events { timeline, out, is_first: true };
    events.names()?;
    for (span, correlation) in timeline.spans.iter().zip(correlations(timeline)) {
        events.slice(span, correlation)?;
    }
    events.frames()?;
    events.arrows()?;
    events.memory()?;
    write!(events.out, "\n]}}\n")
}

/// The number that a launch and what it launched have in common, for each span; from 1, as 0
/// stands for none.
fn correlations(timeline: &Timeline) -> Vec<u32> {
    let mut correlations = vec![0; timeline.spans.len()];
    let mut last = 0;
    for arrow in &timeline.arrows {
        let (from, to) = (arrow.from.0 as usize, arrow.to.0 as usize);
        if timeline.spans.get(from).is_some_and(|span| span.lane.is_host())
            && to < correlations.len()
        {
            if correlations[from] == 0 {
                last += 1;
                correlations[from] = last;
            }
            correlations[to] = correlations[from];
        }
    }
    correlations
}

struct Events<'a> {
    timeline: &'a Timeline,
    out: &'a mut dyn Write,
    is_first: bool,
}

impl Events<'_> {
    /// Opens the next event; the caller writes the rest of the object.
    fn open(&mut self) -> io::Result<()> {
        let comma = if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" };
        self.out.write_all(comma.as_bytes())
    }

    /// Rank of a span's process, which the trace calls `pid`.
    fn rank(&self, process: u32) -> u64 {
        self.timeline.processes.get(process as usize).map_or(u64::from(process), |it| it.rank)
    }

    /// Names and order of processes and threads.
    fn names(&mut self) -> io::Result<()> {
        for (order, process) in self.timeline.processes.iter().enumerate() {
            let stage = process.stage.map_or(String::new(), |stage| format!("stage {stage}"));
            let equals = match process.multiplicity {
                0 | 1 => String::new(),
                count => format!("stands for {count}"),
            };
            let about: Vec<String> =
                [stage, equals].into_iter().filter(|text| !text.is_empty()).collect();
            let mut name = format!("rank {}", process.rank);
            if !about.is_empty() {
                name.push_str(&format!(" ({})", about.join(", ")));
            }
            let pid = process.rank;
            self.metadata("process_name", pid, 0, &format!("\"name\":{}", Text(&name)))?;
            self.metadata("process_sort_index", pid, 0, &format!("\"sort_index\":{order}"))?;
        }
        let lanes: BTreeSet<(u32, Lane)> =
            self.timeline.spans.iter().map(|span| (span.process, span.lane)).collect();
        for (process, lane) in lanes {
            let (pid, tid) = (self.rank(process), thread(lane));
            let name = self.recorded_name(process, lane).map_or_else(|| title(lane), str::to_owned);
            self.metadata("thread_name", pid, tid, &format!("\"name\":{}", Text(&name)))?;
            self.metadata("thread_sort_index", pid, tid, &format!("\"sort_index\":{tid}"))?;
        }
        Ok(())
    }

    fn metadata(&mut self, name: &str, pid: u64, tid: u32, args: &str) -> io::Result<()> {
        self.open()?;
        write!(
            self.out,
            "{{\"ph\":\"M\",\"name\":\"{name}\",\"pid\":{pid},\"tid\":{tid},\"args\":{{{args}}}}}"
        )
    }

    /// A span; `correlation` is that of its launch, or 0.
    fn slice(&mut self, span: &Span, correlation: u32) -> io::Result<()> {
        self.open()?;
        let label = self.timeline.labels.name(span.label);
        let (pid, tid) = (self.rank(span.process), thread(span.lane));
        let is_call = correlation != 0 || span.call.is_some();
        let (category, name) = match span.lane {
            Lane::Host | Lane::Thread(_) if is_call => ("cuda_runtime", label.to_owned()),
            Lane::Host | Lane::Thread(_) => ("cpu_op", label.to_owned()),
            Lane::Stream(_) if span.class == Class::Copy => {
                (copy_category(label), label.to_owned())
            }
            Lane::Compute | Lane::Stream(_) => ("kernel", label.to_owned()),
            Lane::Communication(..) => ("kernel", format!("nccl:{label}")),
        };
        let start = drawn_from(span);
        write!(
            self.out,
            "{{\"ph\":\"X\",\"cat\":\"{category}\",\"name\":{},\"pid\":{pid},\"tid\":{tid},\
             \"ts\":{},\"dur\":{},\"args\":{{\"class\":\"{}\"",
            Text(&name),
            Microseconds(nanoseconds(start)),
            Microseconds(nanoseconds(span.end).saturating_sub(nanoseconds(start))),
            span.class.name(),
        )?;
        if let Some(task) = span.task {
            let pass = match task.pass {
                Pass::Forward => "forward",
                Pass::Backward => "backward",
            };
            write!(
                self.out,
                ",\"pass\":\"{pass}\",\"micro_batch\":{},\"chunk\":{}",
                task.micro_batch, task.chunk
            )?;
        }
        if span.bytes.value() > 0.0 {
            write!(self.out, ",\"bytes\":{:.0}", span.bytes.value())?;
        }
        let waited = nanoseconds(span.start).saturating_sub(nanoseconds(span.ready));
        if waited > 0 {
            write!(self.out, ",\"waited_us\":{}", Microseconds(waited))?;
        }
        if !span.lane.is_host() {
            let stream = self.stream(span.process, span.lane);
            write!(self.out, ",\"device\":{pid},\"stream\":{stream}")?;
        }
        if correlation != 0 {
            write!(self.out, ",\"correlation\":{correlation}")?;
        }
        // Names of the runtime's calls say what they ask; those of simulated calls do not.
        if let Some(call) = span.call.filter(|call| *call != meaning(label)) {
            write!(self.out, ",\"call\":\"{}\"", call.name())?;
        }
        self.out.write_all(b"}}")
    }

    /// Frames, and steps where no frame says them.
    fn frames(&mut self) -> io::Result<()> {
        let timeline = self.timeline;
        for frame in &timeline.frames {
            let category = match frame.kind {
                FrameKind::Operator => "cpu_op",
                FrameKind::Annotation => "user_annotation",
                FrameKind::Python => "python_function",
            };
            let thread = thread(Lane::Thread(frame.thread));
            let place = (self.rank(frame.process), thread);
            let name = timeline.labels.name(frame.label);
            self.stretch((category, name), place, (frame.start, frame.end))?;
        }
        let is_step = |frame: &&Frame| timeline.labels.name(frame.label).starts_with(STEP);
        let said: BTreeSet<u32> =
            timeline.frames.iter().filter(is_step).map(|frame| frame.process).collect();
        let mut marked = BTreeSet::new();
        for step in timeline.steps.iter().filter(|step| !said.contains(&step.process)) {
            let pid = self.rank(step.process);
            if marked.insert(pid) {
                self.metadata("thread_name", pid, STEPS, "\"name\":\"steps\"")?;
                self.metadata("thread_sort_index", pid, STEPS, "\"sort_index\":0")?;
            }
            let name = format!("{STEP}{}", step.number);
            self.stretch(("user_annotation", &name), (pid, STEPS), (step.start, step.end))?;
        }
        Ok(())
    }

    /// A stretch of a thread.
    fn stretch(
        &mut self,
        (category, name): (&str, &str),
        (pid, tid): (u64, u32),
        (start, end): (Instant, Instant),
    ) -> io::Result<()> {
        self.open()?;
        write!(
            self.out,
            "{{\"ph\":\"X\",\"cat\":\"{category}\",\"name\":{},\"pid\":{pid},\"tid\":{tid},\
             \"ts\":{},\"dur\":{},\"args\":{{}}}}",
            Text(name),
            Microseconds(nanoseconds(start)),
            Microseconds(nanoseconds(end).saturating_sub(nanoseconds(start))),
        )
    }

    /// What a recording calls a thread or stream.
    fn recorded_name(&self, process: u32, lane: Lane) -> Option<&str> {
        let found = self.timeline.lane_names.iter().find(|it| (it.0, it.1) == (process, lane));
        found.map(|it| self.timeline.labels.name(it.2))
    }

    /// Number of a stream: as it was recorded, else that of its thread.
    fn stream(&self, process: u32, lane: Lane) -> i64 {
        let name = self.recorded_name(process, lane);
        let number = name.and_then(|name| name.strip_prefix("stream ")?.parse().ok());
        number.unwrap_or_else(|| i64::from(thread(lane)))
    }

    /// One end of an arrow; `s` begins it and `f` ends it, in the slice that surrounds `at`.
    fn flow(
        &mut self,
        end: &str,
        kind: &str,
        id: usize,
        span: &Span,
        at: Instant,
    ) -> io::Result<()> {
        self.open()?;
        let binding = if end == "f" { ",\"bp\":\"e\"" } else { "" };
        write!(
            self.out,
            "{{\"ph\":\"{end}\",\"cat\":\"{kind}\",\"name\":\"{kind}\",\"id\":{id},\"pid\":{},\
             \"tid\":{},\"ts\":{}{binding}}}",
            self.rank(span.process),
            thread(span.lane),
            Microseconds(nanoseconds(at))
        )
    }

    /// Launches to what they launched, sends to receives.
    fn arrows(&mut self) -> io::Result<()> {
        for (id, arrow) in (1..).zip(&self.timeline.arrows) {
            let ends = [arrow.from, arrow.to].map(|id| self.timeline.spans.get(id.0 as usize));
            let [Some(from), Some(to)] = ends else { continue };
            // An arrow ends inside slices: one that is too short to be seen holds none.
            let is_seen = |span: &Span| nanoseconds(drawn_from(span)) < nanoseconds(span.end);
            if ![from, to].into_iter().all(is_seen) {
                continue;
            }
            let kind = if from.lane.is_host() { "ac2g" } else { "send_recv" };
            self.flow("s", kind, id, from, from.start)?;
            self.flow("f", kind, id, to, drawn_from(to))?;
        }
        Ok(())
    }

    fn memory(&mut self) -> io::Result<()> {
        for sample in &self.timeline.memory {
            self.open()?;
            write!(
                self.out,
                "{{\"ph\":\"C\",\"name\":\"memory\",\"pid\":{},\"ts\":{},\
                 \"args\":{{\"allocated_bytes\":{:.0}}}}}",
                self.rank(sample.process),
                Microseconds(nanoseconds(sample.at)),
                sample.allocated.value()
            )?;
        }
        Ok(())
    }
}

/// Names of marked steps, as PyTorch's profiler gives them.
const STEP: &str = "ProfilerStep#";

/// Thread of marked steps that no frame says, in front of the recorded threads.
const STEPS: u32 = 0xffff;

/// Where the slice of a span begins: recorded kernels hold their stream while they wait.
fn drawn_from(span: &Span) -> Instant {
    match span.lane {
        Lane::Stream(_) => span.occupied().0,
        _ => span.start,
    }
}

fn copy_category(name: &str) -> &'static str {
    match name.to_ascii_lowercase().contains("memset") {
        true => "gpu_memset",
        false => "gpu_memcpy",
    }
}

fn nanoseconds(at: Instant) -> u64 {
    at.ps().saturating_add(500) / 1000
}

/// Nanoseconds, printed as microseconds with three decimals.
struct Microseconds(u64);

impl fmt::Display for Microseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A JSON string.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}
