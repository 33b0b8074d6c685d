//! From events in any order to a recording.

mod announced;
mod finish;
mod link;
mod said;
#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

use super::{Classes, KernelClass, call};
use crate::timeline::{Call, FrameKind, FramePurpose, LabelId, Labels};
use crate::work::{Axis, Class, CollectiveKind};
use announced::{Announced, Shadow};
use said::Said;

/// Kind of work on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A kernel.
    Kernel,
    /// A copy by copy engines.
    Copy,
    /// A fill.
    Fill,
}

/// Work on a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceEvent<'a> {
    /// Kind.
    pub kind: DeviceKind,
    /// Number of the device.
    pub device: u64,
    /// Number of the stream as the trace gives it.
    pub stream: i64,
    /// Name.
    pub name: &'a str,
    /// Start, on the recorder's clock.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Tells the launches of one context apart.
    pub correlation: Option<u64>,
    /// In which correlations are unique: a process, or 0.
    pub context: u64,
    /// Bytes of a copy or fill.
    pub bytes: Option<u64>,
    /// What a collective says of itself.
    pub collective: Option<CollectiveArguments<'a>>,
}

/// Arguments of a collective, on its kernel or on a range that sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CollectiveArguments<'a> {
    /// The operation (`allreduce`, `_allgather_base`, `ncclSend`, …).
    pub name: Option<&'a str>,
    /// Elements put in.
    pub elements_in: Option<u64>,
    /// Elements got out.
    pub elements_out: Option<u64>,
    /// Bytes put in, where the source counts bytes.
    pub bytes_in: Option<u64>,
    /// Bytes got out.
    pub bytes_out: Option<u64>,
    /// Bytes sent to each rank.
    pub bytes_to_each: Option<u64>,
    /// Format of elements (`Float`, `c10::BFloat16`, …).
    pub dtype: Option<&'a str>,
    /// Ranks of the group.
    pub group_size: Option<u64>,
    /// Name of the process group.
    pub group: Option<&'a str>,
    /// Ranks of the group, as the source writes them.
    pub ranks: Option<&'a str>,
    /// Number of the collective in its group.
    pub sequence: Option<u64>,
    /// Whether ranks send each other different amounts.
    pub is_uneven: bool,
    /// Whether sizes are sums of messages to several ranks.
    pub is_exchange: bool,
}

/// A range on a thread that says what collective is sent in it.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Process on the host.
    pub pid: u64,
    /// Thread.
    pub thread: u64,
    /// Start.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Its number, by which what was launched in it may name it.
    pub number: Option<u64>,
    /// What it says, of each collective that is sent in it.
    pub arguments: CollectiveArguments<'a>,
    /// How many equal collectives are sent in it, where the recorder tells them apart.
    pub count: u32,
}

/// A call of the runtime or driver.
#[derive(Clone, Copy, Debug)]
pub struct HostCall<'a> {
    /// Process on the host.
    pub pid: u64,
    /// Thread.
    pub thread: u64,
    /// Name of the call.
    pub name: &'a str,
    /// Start.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
    /// The launches it made bear it too.
    pub correlation: Option<u64>,
    /// In which correlations are unique.
    pub context: u64,
}

/// An operator, annotation or function on a thread.
#[derive(Clone, Copy, Debug)]
pub struct HostFrame<'a> {
    /// Process on the host.
    pub pid: u64,
    /// Thread.
    pub thread: u64,
    /// Kind.
    pub kind: FrameKind,
    /// Name.
    pub name: &'a str,
    /// Start.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
}

/// What the recorder says of a synchronisation, beside the call that asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Synchronization {
    /// Whether a stream waits, and not the host.
    pub stream_waits: bool,
    /// Device.
    pub device: u64,
    /// For a stream that waits, which; for the host, the stream waited for.
    pub stream: Option<i64>,
    /// The stream on which the event was recorded.
    pub event_stream: Option<i64>,
    /// Correlation of the call that recorded the event.
    pub record: Option<u64>,
    /// When it was asked.
    pub start_ns: i64,
    /// Correlation of the call that asked.
    pub correlation: Option<u64>,
    /// In which correlations are unique.
    pub context: u64,
}

/// Collects events of one file and makes a recording of them.
#[derive(Debug)]
pub struct Builder<'a> {
    classes: &'a Classes,
    file: String,
    labels: Labels,
    /// What a label means as a kernel, as a call and as a frame, found once a name.
    kernels: FxHashMap<LabelId, KernelClass>,
    calls: FxHashMap<LabelId, Call>,
    purposes: FxHashMap<LabelId, Option<FramePurpose>>,
    device_events: Vec<Device>,
    host_calls: Vec<Host>,
    frames: Vec<RawFrame>,
    operators: Vec<(u32, Vec<Vec<u64>>, Vec<String>)>,
    /// With whether the event that a stream waits for is known.
    synchronizations: Vec<(Synchronization, bool)>,
    collectives: Vec<Collective>,
    announced: Vec<Announced>,
    shadows: Vec<Shadow>,
    memory: Vec<(u64, i64, f64)>,
    /// Number, start, end, and the process on the host that marked it.
    steps: Vec<(u64, i64, i64, u64)>,
    /// Ranks that are the numbers of devices.
    ranks: BTreeSet<u64>,
    threads: Interned<(u64, u64)>,
    thread_names: BTreeMap<(u64, u64), String>,
    device_names: BTreeMap<u64, String>,
    rank: Option<u64>,
    world_size: Option<u64>,
    base_ns: i64,
    partial: Vec<String>,
}

/// Numbers in order of first sight.
#[derive(Debug)]
struct Interned<K> {
    ids: FxHashMap<K, u32>,
    keys: Vec<K>,
}

impl<K: Copy + Eq + std::hash::Hash> Interned<K> {
    fn new() -> Self {
        Self { ids: FxHashMap::default(), keys: Vec::new() }
    }

    fn id(&mut self, key: K) -> u32 {
        *self.ids.entry(key).or_insert_with(|| {
            self.keys.push(key);
            (self.keys.len() - 1) as u32
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Device {
    device: u64,
    stream: i64,
    start_ns: i64,
    end_ns: i64,
    label: LabelId,
    class: Class,
    correlation: Option<u64>,
    context: u64,
    bytes: u64,
    grid: Option<[u32; 3]>,
    collective: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Host {
    thread: u32,
    start_ns: i64,
    end_ns: i64,
    label: LabelId,
    call: Call,
    correlation: Option<u64>,
    context: u64,
}

#[derive(Clone, Copy, Debug)]
struct RawFrame {
    thread: u32,
    kind: FrameKind,
    purpose: Option<FramePurpose>,
    start_ns: i64,
    end_ns: i64,
    label: LabelId,
}

/// A kernel that communicates.
#[derive(Clone, Copy, Debug)]
struct Collective {
    /// What its own arguments say, and after [`Builder::hear`] all sources together.
    said: Said,
    /// What its name says.
    by_name: Option<CollectiveKind>,
    /// Number of the range that launched it.
    announced_by: Option<u64>,
}

impl<'a> Builder<'a> {
    /// For one file.
    pub fn new(file: &str, classes: &'a Classes) -> Self {
        Self {
            classes,
            file: file.to_owned(),
            labels: Labels::default(),
            kernels: FxHashMap::default(),
            calls: FxHashMap::default(),
            purposes: FxHashMap::default(),
            device_events: Vec::new(),
            host_calls: Vec::new(),
            frames: Vec::new(),
            operators: Vec::new(),
            synchronizations: Vec::new(),
            collectives: Vec::new(),
            announced: Vec::new(),
            shadows: Vec::new(),
            memory: Vec::new(),
            steps: Vec::new(),
            ranks: BTreeSet::new(),
            threads: Interned::new(),
            thread_names: BTreeMap::new(),
            device_names: BTreeMap::new(),
            rank: None,
            world_size: None,
            base_ns: 0,
            partial: Vec::new(),
        }
    }

    /// Rank of the file, and ranks of the job.
    pub fn rank(&mut self, rank: Option<u64>, world_size: Option<u64>) {
        self.rank = rank.or(self.rank);
        self.world_size = world_size.or(self.world_size);
    }

    /// Ranks of a file of several, whose devices are numbered by rank.
    pub fn ranks(&mut self, ranks: impl IntoIterator<Item = u64>) {
        self.ranks.extend(ranks);
    }

    /// Nanoseconds of the recorder's clock that all times leave out; may come last.
    pub fn clock_base(&mut self, base_ns: i64) {
        self.base_ns = base_ns;
    }

    /// Name of a device.
    pub fn device_name(&mut self, device: u64, name: &str) {
        self.device_names.insert(device, name.to_owned());
    }

    /// Name of a thread.
    pub fn thread_name(&mut self, pid: u64, thread: u64, name: &str) {
        self.thread_names.insert((pid, thread), name.to_owned());
    }

    /// Something is wrong with the file, so that the recording is partial.
    pub fn partial(&mut self, what: String) {
        self.partial.push(what);
    }

    /// Work on a device.
    pub fn device_event(&mut self, event: DeviceEvent<'_>) {
        let label = self.labels.intern(event.name);
        let known = match event.kind {
            DeviceKind::Kernel => {
                *self.kernels.entry(label).or_insert_with(|| self.classes.class(event.name))
            }
            DeviceKind::Copy | DeviceKind::Fill => {
                KernelClass { class: Class::Copy, operation: None }
            }
        };
        let communicates = known.class == Class::Communication(Axis::Unstated);
        let collective = communicates.then(|| {
            let said = Said::of(&event.collective.unwrap_or_default(), &mut self.labels);
            let by_name = known.operation;
            self.collectives.push(Collective { said, by_name, announced_by: None });
            (self.collectives.len() - 1) as u32
        });
        self.device_events.push(Device {
            device: event.device,
            stream: event.stream,
            start_ns: event.start_ns,
            end_ns: event.end_ns.max(event.start_ns),
            label,
            class: known.class,
            correlation: event.correlation,
            context: event.context,
            bytes: event.bytes.unwrap_or(0),
            grid: None,
            collective,
        });
    }

    /// Blocks of the grid of the kernel that was told last.
    pub fn grid(&mut self, blocks: [u32; 3]) {
        if let Some(event) = self.device_events.last_mut() {
            event.grid = Some(blocks);
        }
    }

    /// Number of the range that launched the device work that was told last.
    pub fn announced_by(&mut self, number: u64) {
        let collective = self.device_events.last().and_then(|event| event.collective);
        if let Some(collective) = collective {
            self.collectives[collective as usize].announced_by = Some(number);
        }
    }

    /// Class of the device work that was told last, where the file says it. Rules of a user's own
    /// count more.
    pub fn stated_class(&mut self, class: Class) {
        if let Some(event) = self.device_events.last_mut()
            && !self.classes.is_own(self.labels.name(event.label))
        {
            event.class = class;
        }
    }

    /// A range on a thread that says what collective is sent in it.
    pub fn announcement(&mut self, announcement: Announcement<'_>) {
        let said = Said::of(&announcement.arguments, &mut self.labels);
        self.announced.push(Announced::of(&announcement, said));
    }

    /// The same range as its shadow on a stream: around what was launched in it.
    pub fn shadow(
        &mut self,
        (device, stream): (u64, i64),
        (start_ns, end_ns): (i64, i64),
        arguments: &CollectiveArguments<'_>,
    ) {
        let said = Said::of(arguments, &mut self.labels);
        self.shadows.push(Shadow { place: (device, stream), start_ns, end_ns, said });
    }

    /// A call of the runtime or driver.
    pub fn host_call(&mut self, host: HostCall<'_>) {
        let label = self.labels.intern(host.name);
        let call = *self.calls.entry(label).or_insert_with(|| call(host.name));
        let thread = self.threads.id((host.pid, host.thread));
        self.host_calls.push(Host {
            thread,
            start_ns: host.start_ns,
            end_ns: host.end_ns.max(host.start_ns),
            label,
            call,
            correlation: host.correlation,
            context: host.context,
        });
    }

    /// What the call that was told last asks, where the file says it.
    pub fn stated_call(&mut self, call: Call) {
        if let Some(host) = self.host_calls.last_mut() {
            host.call = call;
        }
    }

    /// A frame of a thread; gives its number for [`Builder::operator`].
    pub fn frame(&mut self, frame: HostFrame<'_>) -> u32 {
        let label = self.labels.intern(frame.name);
        let thread = self.threads.id((frame.pid, frame.thread));
        let classes = self.classes;
        let purpose = *self.purposes.entry(label).or_insert_with(|| classes.purpose(frame.name));
        self.frames.push(RawFrame {
            thread,
            kind: frame.kind,
            purpose,
            start_ns: frame.start_ns,
            end_ns: frame.end_ns.max(frame.start_ns),
            label,
        });
        (self.frames.len() - 1) as u32
    }

    /// Shapes and formats of the arguments of an operator.
    pub fn operator(&mut self, frame: u32, shapes: Vec<Vec<u64>>, dtypes: Vec<String>) {
        self.operators.push((frame, shapes, dtypes));
    }

    /// What the recorder says of a synchronisation.
    pub fn synchronization(&mut self, synchronization: Synchronization) {
        self.synchronizations.push((synchronization, true));
    }

    /// A stream that waits for an event, of which the recorder does not say where it was recorded.
    pub fn wait_for_unknown(&mut self, synchronization: Synchronization) {
        self.synchronizations.push((synchronization, false));
    }

    /// A training step that the trace marks.
    pub fn step(&mut self, pid: u64, number: u64, start_ns: i64, end_ns: i64) {
        self.steps.push((number, start_ns, end_ns.max(start_ns), pid));
    }

    /// Memory allocated on a device from a point in time on.
    pub fn memory(&mut self, device: u64, at_ns: i64, allocated_bytes: f64) {
        self.memory.push((device, at_ns, allocated_bytes));
    }
}
