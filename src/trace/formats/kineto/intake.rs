//! From events of the file to the builder: what each category means.

use std::collections::BTreeMap;

use super::announced;
use super::arguments::Arguments;
use super::category::Category;
use super::event::{Event, STEP, Time, is_kept_anyway};
use super::scalar::Scalar;
use crate::timeline::{Call, FrameKind};
use crate::trace::formats::frames;
use crate::trace::{
    Announcement, Builder, DeviceEvent, DeviceKind, HostCall, HostFrame, Options, Synchronization,
};
use crate::work::Class;

/// The number of a stream that is none, as a 32-bit number.
const NO_STREAM: i64 = 0xffff_ffff;
/// Threads that are named and not numbered are numbered from here.
const NAMED: u64 = 1 << 63;

/// Takes events, and remembers what could not be taken.
pub(super) struct Intake<'a> {
    pub builder: Builder<'a>,
    options: Options<'a>,
    /// Numbers of processes and threads that have names in their place.
    named: BTreeMap<String, u64>,
    /// Ranges that have begun and not ended, by process and thread.
    open: BTreeMap<(u64, u64), Vec<Event<'static>>>,
    /// What was met in the list of events, whatever it was.
    pub met_count: u64,
    /// Events with a phase.
    pub event_count: u64,
    gpu_event_count: u64,
    left_out: LeftOut,
    /// Events of categories that are of no GPU.
    unknown: BTreeMap<String, u64>,
}

/// Events that could not be taken.
#[derive(Default)]
struct LeftOut {
    count: u64,
    /// Place of the first one, and what was wrong with it.
    first: Option<(u64, String)>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(file: &str, options: &Options<'a>) -> Self {
        Self {
            builder: Builder::new(file, options.classes),
            options: *options,
            named: BTreeMap::new(),
            open: BTreeMap::new(),
            met_count: 0,
            event_count: 0,
            gpu_event_count: 0,
            left_out: LeftOut::default(),
            unknown: BTreeMap::new(),
        }
    }

    /// An event at a place in the file could not be taken.
    pub(super) fn leave_out(&mut self, offset: u64, why: impl Into<String>) {
        self.left_out.count += 1;
        self.left_out.first.get_or_insert_with(|| (offset, why.into()));
    }

    /// Place of the first event that could not be taken, and why.
    pub(super) fn first_left_out(&self) -> Option<&(u64, String)> {
        self.left_out.first.as_ref()
    }

    /// Takes an event at a place in the file.
    pub(super) fn take(&mut self, event: &Event<'_>, offset: u64) {
        self.event_count += u64::from(event.phase != 0);
        match event.phase {
            b'X' => self.complete(event, offset),
            b'B' => {
                let thread = self.thread(event);
                self.open.entry(thread).or_default().push(event.clone().into_owned());
            }
            b'E' => self.end(event, offset),
            b'M' => self.metadata(event),
            b'i' | b'I' => self.instant(event),
            0 => self.leave_out(offset, "no `ph`, expected an event like {\"ph\":\"X\",…}"),
            _ => {}
        }
    }

    /// What is said at the end of the file.
    pub(super) fn finish(mut self) -> Builder<'a> {
        let open: usize = self.open.values().map(Vec::len).sum();
        if open > 0 {
            self.builder.partial(format!("{open} ranges begin (`ph` B) and never end"));
        }
        let LeftOut { count, first } = self.left_out;
        if let Some((offset, why)) = first {
            let of = self.met_count;
            self.builder.partial(format!(
                "left out {count} of {of} events that could not be read, the first at byte \
                 {offset}: {why}"
            ));
        }
        if !self.unknown.is_empty() {
            let count: u64 = self.unknown.values().sum();
            let names: Vec<&str> = self.unknown.keys().take(8).map(String::as_str).collect();
            let more = if self.unknown.len() > names.len() { ", …" } else { "" };
            let names = names.join(", ");
            self.builder.partial(format!(
                "left out {count} events of categories that are no GPU's: {names}{more}"
            ));
        }
        if self.gpu_event_count == 0 {
            let events = self.met_count;
            self.builder.partial(format!(
                "no GPU events (categories kernel, gpu_memcpy, gpu_memset) among {events} events; \
                 record with ProfilerActivity.CUDA"
            ));
        }
        self.builder
    }

    fn complete(&mut self, event: &Event<'_>, offset: u64) {
        let category = event.category.unwrap_or(Category::Frame(FrameKind::Annotation));
        match category {
            Category::Silent | Category::Instant => return,
            Category::Unknown => return self.unknown(event),
            // The rest of it was not read.
            Category::Shadow if !frames::announces(event.name()) => return,
            Category::Frame(_) if !self.options.frames && !is_kept_anyway(event.name()) => return,
            _ => {}
        }
        let (start_ns, length_ns) = match (event.start, event.length) {
            (Time::Ns(start), Time::Ns(length)) if length >= 0 => (start, length),
            (Time::Ns(start), Time::Missing) => (start, 0),
            (Time::Ns(_), Time::Ns(_)) => return self.leave_out(offset, "`dur` is negative"),
            (Time::Ns(_), _) => return self.leave_out(offset, "`dur` is no number"),
            (Time::Missing, _) => return self.leave_out(offset, "no `ts`, or it is no number"),
            (Time::Unreadable, _) => {
                return self.leave_out(offset, "`ts` is no number of microseconds");
            }
        };
        let end_ns = start_ns.saturating_add(length_ns);
        match category {
            Category::Device(kind) => self.device(event, kind, start_ns, end_ns),
            Category::Call => self.call(event, start_ns, end_ns),
            Category::Synchronization => self.synchronization(event, start_ns),
            Category::Frame(kind) => self.frame(event, kind, start_ns, end_ns),
            Category::Shadow => self.shadow(event, start_ns, end_ns),
            Category::Silent | Category::Instant | Category::Unknown => {}
        }
    }

    fn device(&mut self, event: &Event<'_>, kind: DeviceKind, start_ns: i64, end_ns: i64) {
        self.gpu_event_count += 1;
        let arguments = &event.arguments;
        let rare = arguments.rare.as_deref();
        self.builder.device_event(DeviceEvent {
            kind,
            device: device(event),
            stream: stream(event),
            name: event.name(),
            start_ns,
            end_ns,
            correlation: arguments.correlation.count(),
            context: 0,
            bytes: arguments.bytes.count(),
            collective: rare.map(announced::named),
        });
        // Old versions write the correlation in the place of the number of the operator.
        let operator = arguments.external_id.count().filter(|&it| it != 0);
        if let Some(operator) = operator.filter(|_| operator != arguments.correlation.count()) {
            self.builder.announced_by(operator);
        }
        if let Some(grid) = arguments.grid {
            self.builder.grid(grid);
        }
        if let Some(class) = rare.and_then(|rare| Class::named(rare.class.text()?)) {
            self.builder.stated_class(class);
        }
    }

    fn call(&mut self, event: &Event<'_>, start_ns: i64, end_ns: i64) {
        let (pid, thread) = self.thread(event);
        self.builder.host_call(HostCall {
            pid,
            thread,
            name: event.name(),
            start_ns,
            end_ns,
            correlation: event.arguments.correlation.count(),
            context: 0,
        });
        if let Some(call) = event.arguments.call.text().and_then(Call::named) {
            self.builder.stated_call(call);
        }
    }

    fn synchronization(&mut self, event: &Event<'_>, start_ns: i64) {
        let arguments = &event.arguments;
        let rare = arguments.rare.as_deref();
        let stream = |scalar: &Scalar<'_>| {
            number(scalar).filter(|&stream| stream >= 0 && stream != NO_STREAM)
        };
        let record = rare.and_then(|rare| rare.wait_on_record.count());
        self.builder.synchronization(Synchronization {
            stream_waits: event.name().eq_ignore_ascii_case("stream wait event"),
            device: device(event),
            stream: stream(&arguments.stream),
            event_stream: rare.and_then(|rare| stream(&rare.wait_on_stream)),
            record: record.filter(|&it| it != NO_STREAM as u64 && it != u64::MAX),
            start_ns,
            correlation: arguments.correlation.count(),
            context: 0,
        });
    }

    fn frame(&mut self, event: &Event<'_>, kind: FrameKind, start_ns: i64, end_ns: i64) {
        let name = event.name();
        if kind != FrameKind::Python
            && let Some(number) = name.strip_prefix(STEP)
            && let Ok(number) = number.trim().parse()
        {
            let pid = self.thread(event).0;
            self.builder.step(pid, number, start_ns, end_ns);
        }
        if kind != FrameKind::Python && frames::announces(name) {
            self.announcement(event, start_ns, end_ns);
        }
        if !self.options.frames {
            return;
        }
        let (pid, thread) = self.thread(event);
        let frame = HostFrame { pid, thread, kind, name, start_ns, end_ns };
        let frame = self.builder.frame(frame);
        if self.options.shapes
            && let Some(rare) = event.arguments.rare.as_deref()
            && let Some((shapes, dtypes)) = super::shapes::of(rare)
        {
            self.builder.operator(frame, shapes, dtypes);
        }
    }

    fn announcement(&mut self, event: &Event<'_>, start_ns: i64, end_ns: i64) {
        let (pid, thread) = self.thread(event);
        self.builder.announcement(Announcement {
            pid,
            thread,
            start_ns,
            end_ns,
            number: event.arguments.external_id.count(),
            arguments: announced::of(event.name(), event.arguments.rare.as_deref()),
            count: 1,
        });
    }

    fn shadow(&mut self, event: &Event<'_>, start_ns: i64, end_ns: i64) {
        let said = frames::by_name(event.name());
        self.builder.shadow((device(event), stream(event)), (start_ns, end_ns), &said);
    }

    /// The end of the range that began last on the thread.
    fn end(&mut self, event: &Event<'_>, offset: u64) {
        let thread = self.thread(event);
        let Some(mut begun) = self.open.get_mut(&thread).and_then(Vec::pop) else { return };
        begun.length = match (begun.start, event.start) {
            (Time::Ns(start), Time::Ns(end)) => Time::Ns(end.saturating_sub(start)),
            _ => Time::Unreadable,
        };
        self.complete(&begun, offset);
    }

    fn metadata(&mut self, event: &Event<'_>) {
        let rare = event.arguments.rare.as_deref();
        let Some(name) = rare.and_then(|rare| rare.name.text()) else { return };
        if event.name() != "thread_name" {
            return;
        }
        // The profiler writes `thread 17 (python3)`; the number is known.
        let name = match name.strip_suffix(')').and_then(|name| name.split_once(" (")) {
            Some((thread, name)) if thread.starts_with("thread ") => name,
            _ => name,
        };
        let (pid, thread) = self.thread(event);
        self.builder.thread_name(pid, thread, name.trim());
    }

    fn instant(&mut self, event: &Event<'_>) {
        if event.name() != "[memory]" {
            return;
        }
        let Some(rare) = event.arguments.rare.as_deref() else { return };
        // `c10::DeviceType`: 1 is CUDA (and ROCm under that name), 6 is HIP.
        let is_gpu = matches!(rare.device_type.integer(), Some(1 | 6));
        let Some(device) = rare.device_id.count().filter(|_| is_gpu) else { return };
        let (Some(allocated), Time::Ns(at)) = (rare.total_allocated.real(), event.start) else {
            return;
        };
        self.builder.memory(device, at, allocated.max(0.0));
    }

    fn unknown(&mut self, event: &Event<'_>) {
        let name = event.category_name.text().unwrap_or_default();
        match self.unknown.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.unknown.insert(name.to_owned(), 1);
            }
        }
    }

    /// Process and thread of an event.
    fn thread(&mut self, event: &Event<'_>) -> (u64, u64) {
        (self.id(&event.pid), self.id(&event.tid))
    }

    fn id(&mut self, scalar: &Scalar<'_>) -> u64 {
        if let Some(number) = number(scalar) {
            return number as u64;
        }
        if let Some(count) = scalar.count() {
            return count;
        }
        let Some(name) = scalar.text() else { return 0 };
        let next = NAMED + self.named.len() as u64;
        match self.named.get(name) {
            Some(&id) => id,
            None => {
                self.named.insert(name.to_owned(), next);
                next
            }
        }
    }
}

/// Number of a device, from its arguments or else from its process, which Kineto makes of it.
fn device(event: &Event<'_>) -> u64 {
    let Event { arguments: Arguments { device, .. }, pid, .. } = event;
    device.count().or_else(|| pid.count()).unwrap_or(0)
}

/// Number of the stream of an event.
fn stream(event: &Event<'_>) -> i64 {
    let number = number(&event.arguments.stream).or_else(|| number(&event.tid));
    number.unwrap_or(0)
}

/// Number of a stream or thread; old traces write `stream 7`.
fn number(scalar: &Scalar<'_>) -> Option<i64> {
    let prefixed = |text: &str| text.strip_prefix("stream ")?.trim().parse().ok();
    scalar.integer().or_else(|| scalar.text().and_then(prefixed))
}
