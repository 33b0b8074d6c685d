//! Chrome trace-event JSON, which ui.perfetto.dev and the readers of PyTorch traces open.
//!
//! A process is a rank, named after its stage and how many ranks it stands for; its threads are
//! the host, the compute stream and the communication streams; a counter shows memory. Arrows
//! (flow events) go from a launch on the host to what it launched (`ac2g`, as Kineto names them)
//! and from sends to receives. Kernels have `cat` `kernel`, launches `cuda_runtime`, and
//! collectives are named `nccl:...`, which is how tools tell them apart.
//!
//! Times are microseconds with three decimals. Borders are rounded, not lengths, so that slices
//! which touch still touch and none overlap. The rest of the picosecond clock is below what the
//! viewers keep.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};

use super::{Report, Style, Subject};
use crate::timeline::{Lane, Span, Timeline};
use crate::units::Instant;
use crate::work::Pass;

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
    if let [process] = timeline.processes.as_slice() {
        write!(out, "\"distributedInfo\":{{\"rank\":{}}},", process.rank)?;
    }
    out.write_all(b"\"traceEvents\":[")?;
    let mut events = Events { timeline, out, is_first: true };
    events.names()?;
    for (span, correlation) in timeline.spans.iter().zip(correlations(timeline)) {
        events.slice(span, correlation)?;
    }
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
        if timeline.spans.get(from).is_some_and(|span| span.lane == Lane::Host)
            && to < correlations.len()
        {
            last += 1;
            correlations[from] = last;
            correlations[to] = last;
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
            self.metadata("thread_name", pid, tid, &format!("\"name\":{}", Text(&title(lane))))?;
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
        let (category, name) = match span.lane {
            Lane::Host | Lane::Thread(_) if correlation != 0 => ("cuda_runtime", label.to_owned()),
            Lane::Host | Lane::Thread(_) => ("cpu_op", label.to_owned()),
            Lane::Compute | Lane::Stream(_) => ("kernel", label.to_owned()),
            Lane::Communication(..) => ("kernel", format!("nccl:{label}")),
        };
        write!(
            self.out,
            "{{\"ph\":\"X\",\"cat\":\"{category}\",\"name\":{},\"pid\":{pid},\"tid\":{tid},\
             \"ts\":{},\"dur\":{},\"args\":{{\"class\":\"{}\"",
            Text(&name),
            Microseconds(nanoseconds(span.start)),
            Microseconds(nanoseconds(span.end).saturating_sub(nanoseconds(span.start))),
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
        if span.lane != Lane::Host {
            write!(self.out, ",\"device\":{pid},\"stream\":{tid}")?;
        }
        if correlation != 0 {
            write!(self.out, ",\"correlation\":{correlation}")?;
        }
        self.out.write_all(b"}}")
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
            if [from, to].iter().any(|span| nanoseconds(span.start) >= nanoseconds(span.end)) {
                continue;
            }
            let kind = if from.lane == Lane::Host { "ac2g" } else { "send_recv" };
            self.flow("s", kind, id, from, from.start)?;
            self.flow("f", kind, id, to, to.start)?;
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
