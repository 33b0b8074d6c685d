//! What a trace says, whoever recorded it.

use crate::timeline::{Frame, LabelId, SpanId, Timeline};
use crate::units::{Bytes, Instant};
use crate::work::{Class, CollectiveKind};

/// A recorded stretch of one rank, or of several after [`super::join`].
///
/// Device work is on `Lane::Stream`, calls of the host on `Lane::Thread`; an arrow goes from each
/// call to the device work that it put on a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// What happened when. Spans are in order of their starts.
    pub timeline: Timeline,
    /// Where each process comes from, by index of the process.
    pub sources: Vec<Source>,
    /// Nanoseconds of the recorder's clock at the start of the timeline.
    pub origin_ns: i64,
    /// The call that launched a span, by index of the span; `None` on hosts and where the trace
    /// has no such call.
    pub launched_by: Vec<Option<SpanId>>,
    /// Blocks of the grid of each kernel, by index of the span; `None` for all else, and where the
    /// trace does not say them.
    pub grids: Vec<Option<[u32; 3]>>,
    /// Streams told to wait, in order of the calls.
    pub waits: Vec<StreamWait>,
    /// What calls that synchronised waited for, where the trace says it, in order of the calls.
    pub synchronized: Vec<SynchronizedOn>,
    /// What collectives say of themselves, in order of their spans.
    pub communications: Vec<Communication>,
    /// Shapes of operators, in order of their frames; only if asked for.
    pub operators: Vec<Operator>,
    /// What was wrong with the file, so that the answer is partial; empty for whole files.
    pub partial: Vec<String>,
}

/// Where a process of a recording comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Name of the file.
    pub file: String,
    /// Rank in the job, where the trace says it.
    pub rank: Option<u64>,
    /// Ranks of the job, where the trace says it.
    pub world_size: Option<u64>,
    /// Number of the device on its host.
    pub device: Option<u64>,
    /// Name of the device, as its maker gives it.
    pub device_name: Option<String>,
    /// Work on the device that no call in the file launched.
    pub events_without_launch: u64,
}

/// An event that a stream waits for, as the recorder's synchronisation records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTarget {
    /// Number of the stream on which the event was recorded, as in `Lane::Stream`; `None` when it
    /// never was.
    pub stream: Option<u32>,
    /// The call that recorded the event.
    pub record: Option<SpanId>,
}

/// A stream told to wait for an event (`cudaStreamWaitEvent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamWait {
    /// Index of the process.
    pub process: u32,
    /// Number of the stream that waits, where the trace says it.
    pub stream: Option<u32>,
    /// The call.
    pub call: Option<SpanId>,
    /// When it was asked.
    pub at: Instant,
    /// What for, where the trace says it.
    pub target: Option<WaitTarget>,
}

/// What a call that synchronised waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynchronizedOn {
    /// The call.
    pub call: SpanId,
    /// The stream, or the stream and record of the event; neither for the whole device.
    pub target: WaitTarget,
}

/// What a collective says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Communication {
    /// Its kernel.
    pub span: SpanId,
    /// The operation.
    pub kind: Option<CollectiveKind>,
    /// Size as nccl-tests counts it.
    pub bytes: Option<Bytes>,
    /// Whether its ranks are said to send each other different amounts.
    pub is_uneven: bool,
    /// Format of its elements as tables call it (`fp32`, `bf16`, …); one that is none of theirs as
    /// the trace calls it.
    pub dtype: Option<LabelId>,
    /// Name of the communicator (process group).
    pub communicator: Option<LabelId>,
    /// Ranks of the communicator.
    pub group_size: Option<u64>,
    /// Which they are, as the trace writes it.
    pub ranks: Option<LabelId>,
    /// Number of the collective in its communicator, as the trace gives it.
    pub sequence: Option<u64>,
}

/// Arguments of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Index into [`Timeline::frames`].
    pub frame: u32,
    /// Shape of each argument; empty for what is no tensor.
    pub shapes: Vec<Vec<u64>>,
    /// Format of each argument, as the trace calls it.
    pub dtypes: Vec<String>,
}

impl Recording {
    /// Name of a span.
    pub fn name(&self, span: SpanId) -> &str {
        self.timeline.labels.name(self.timeline.spans[span.0 as usize].label)
    }

    /// Operations of communication, where the recording says them.
    pub fn operations(&self) -> Vec<(SpanId, CollectiveKind)> {
        self.communications.iter().filter_map(|it| Some((it.span, it.kind?))).collect()
    }

    /// Whether a span is work of a device.
    pub fn is_device(&self, span: SpanId) -> bool {
        !self.timeline.spans[span.0 as usize].lane.is_host()
    }

    /// Whether a span communicates.
    pub fn communicates(&self, span: SpanId) -> bool {
        matches!(self.timeline.spans[span.0 as usize].class, Class::Communication(_))
    }

    /// The frame behind the arguments of an operator.
    pub fn frame(&self, operator: &Operator) -> &Frame {
        &self.timeline.frames[operator.frame as usize]
    }
}
