//! Single instructions.

use std::borrow::Cow;

use super::BlockId;
use crate::plan::GroupKind;
use crate::timeline::{Lane, Task};
use crate::units::{Bytes, Seconds};
use crate::work::{Axis, Class, Collective, Kernel, Pass, TokenExchange};

/// Index of a work item in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u32);

/// Index of an event of a role (or of a block).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u32);

impl EventId {
    /// No event.
    pub const NONE: Self = Self(u32::MAX);
}

/// Events that must have been recorded before work starts; `NONE` fills the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits(pub [EventId; 6]);

impl Waits {
    /// Waits for nothing.
    pub const NONE: Self = Self([EventId::NONE; 6]);

    /// Waits for up to six events: a receive and a send each way, a parameter gather and a gradient
    /// reduction.
    ///
    /// # Panics
    ///
    /// On more than six, which no lowering produces.
    pub fn on(events: &[EventId]) -> Self {
        let mut waits = Self::NONE;
        for &event in events.iter().filter(|&&event| event != EventId::NONE) {
            waits.add(event);
        }
        waits
    }

    /// Adds an event; one that is there already counts once.
    pub fn add(&mut self, event: EventId) {
        if event == EventId::NONE || self.0.contains(&event) {
            return;
        }
        let slot = self.0.iter_mut().find(|slot| **slot == EventId::NONE);
        *slot.expect("an instruction waits for at most six events") = event;
    }

    /// The events.
    pub fn iter(&self) -> impl Iterator<Item = EventId> + '_ {
        self.0.iter().copied().filter(|&event| event != EventId::NONE)
    }
}

/// Index of a group in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// A queue of a device; its instructions run in order, streams run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Kernels.
    Compute,
    /// Tensor-parallel collectives.
    Tensor,
    /// Context-parallel exchanges.
    Context,
    /// Gradient reduction.
    GradientReduce,
    /// Gathering of sharded parameters.
    ParameterGather,
    /// Activations to the next stage.
    SendForward,
    /// Gradients to the previous stage.
    SendBackward,
    /// Activations from the previous stage.
    ReceiveForward,
    /// Gradients from the next stage.
    ReceiveBackward,
    /// Small collectives over the model-parallel group.
    Model,
    /// Exchanges of tokens with the ranks of their experts.
    Expert,
    /// Exchanges of another micro-batch's tokens, beside compute.
    ExpertBeside,
    /// A stream of a recorded trace, by a number of the rank's own, from 0 without gaps.
    Recorded(u16),
}

impl Stream {
    /// Number of streams of a lowered plan.
    pub const COUNT: usize = 12;

    /// Streams of a recording that are told apart: one for each place that a `u16` can name, and
    /// those beyond are one.
    pub const RECORDED_COUNT: usize = u16::MAX as usize + 1 - Self::COUNT;

    /// All streams of a lowered plan.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Compute,
        Self::Tensor,
        Self::Context,
        Self::GradientReduce,
        Self::ParameterGather,
        Self::SendForward,
        Self::SendBackward,
        Self::ReceiveForward,
        Self::ReceiveBackward,
        Self::Model,
        Self::Expert,
        Self::ExpertBeside,
    ];

    /// Place of the stream among those of a rank: streams of lowered plans in the order of
    /// [`Self::ALL`], then recorded ones.
    pub const fn index(self) -> usize {
        match self {
            Self::Compute => 0,
            Self::Tensor => 1,
            Self::Context => 2,
            Self::GradientReduce => 3,
            Self::ParameterGather => 4,
            Self::SendForward => 5,
            Self::SendBackward => 6,
            Self::ReceiveForward => 7,
            Self::ReceiveBackward => 8,
            Self::Model => 9,
            Self::Expert => 10,
            Self::ExpertBeside => 11,
            Self::Recorded(number) => Self::COUNT + number as usize,
        }
    }

    /// The stream at a place, see [`Self::index`].
    pub const fn at(index: usize) -> Self {
        if index < Self::COUNT {
            Self::ALL[index]
        } else {
            Self::Recorded((index - Self::COUNT) as u16)
        }
    }

    /// A stream of a recording; those from [`Self::RECORDED_COUNT`] on are its last.
    pub const fn recorded(number: u32) -> Self {
        let last = (Self::RECORDED_COUNT - 1) as u32;
        Self::Recorded(if number < last { number } else { last } as u16)
    }

    /// Its lane in a timeline.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Compute => Lane::Compute,
            Self::Tensor => Lane::Communication(Axis::Tp, 0),
            Self::Context => Lane::Communication(Axis::Cp, 0),
            Self::GradientReduce => Lane::Communication(Axis::Dp, 0),
            Self::ParameterGather => Lane::Communication(Axis::Dp, 1),
            Self::SendForward => Lane::Communication(Axis::Pp, 0),
            Self::SendBackward => Lane::Communication(Axis::Pp, 1),
            Self::ReceiveForward => Lane::Communication(Axis::Pp, 2),
            Self::ReceiveBackward => Lane::Communication(Axis::Pp, 3),
            Self::Model => Lane::Communication(Axis::Pp, 4),
            Self::Expert => Lane::Communication(Axis::Ep, 0),
            Self::ExpertBeside => Lane::Communication(Axis::Ep, 1),
            Self::Recorded(number) => Lane::Stream(number as u32),
        }
    }
}

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkKind {
    /// A kernel of one GPU.
    Kernel(Kernel),
    /// A copy between a GPU and its host.
    HostCopy {
        /// Bytes in one direction.
        bytes: Bytes,
    },
    /// Communication of a group.
    Collective {
        /// Which group of the rank.
        group: GroupKind,
        /// What it does.
        collective: Collective,
    },
    /// Tokens of a group to the ranks of their experts, or back.
    Exchange {
        /// Which group of the rank.
        group: GroupKind,
        /// What it does.
        exchange: TokenExchange,
        /// Share of it that is meant.
        share: f64,
    },
    /// What a device of a trace did by itself, or communication whose other members were not
    /// recorded: known by its class.
    Recorded {
        /// What it counts as.
        class: Class,
        /// Bytes that the trace states; zero where it states none.
        bytes: Bytes,
    },
    /// One member's part in one communication of a trace. Every member has a work of its own for
    /// it; data moves from the arrival of the last member on, for the longest time that a member's
    /// work costs.
    Meeting {
        /// The ranks that take part; a group of its own for each communication.
        group: GroupId,
        /// Bytes that the trace states; zero where it states none.
        bytes: Bytes,
    },
}

impl WorkKind {
    /// The group of a rank that communicates; `None` for what a GPU does alone.
    pub const fn group(&self) -> Option<GroupKind> {
        match self {
            Self::Kernel(_) | Self::HostCopy { .. } | Self::Recorded { .. } => None,
            Self::Collective { group, .. } | Self::Exchange { group, .. } => Some(*group),
            Self::Meeting { .. } => Some(GroupKind::Recorded),
        }
    }
}

/// Something that takes time, with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Name for traces.
    pub label: Cow<'static, str>,
    /// Whether it belongs to forward or backward (recomputation is backward).
    pub pass: Pass,
    /// What it is.
    pub kind: WorkKind,
    /// Calls that the host launches it with: a product of many experts may be one for each.
    pub launches: u32,
}

impl Work {
    /// What it counts as.
    pub fn class(&self) -> Class {
        match &self.kind {
            WorkKind::Kernel(kernel) => kernel.class(),
            WorkKind::HostCopy { .. } => Class::Optimizer,
            WorkKind::Collective { group, .. } | WorkKind::Exchange { group, .. } => {
                Class::Communication(group.axis())
            }
            WorkKind::Recorded { class, .. } => *class,
            WorkKind::Meeting { .. } => Class::Communication(GroupKind::Recorded.axis()),
        }
    }

    /// Bytes: on the wire as nccl-tests counts them, or in memory.
    pub fn bytes(&self) -> Bytes {
        match &self.kind {
            WorkKind::Kernel(kernel) => kernel.bytes(),
            WorkKind::HostCopy { bytes }
            | WorkKind::Recorded { bytes, .. }
            | WorkKind::Meeting { bytes, .. } => *bytes,
            WorkKind::Collective { collective, .. } => collective.bytes,
            WorkKind::Exchange { exchange, share, .. } => exchange.bytes() * *share,
        }
    }
}

/// Tells the transfers between two ranks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// What is sent: activations forward, gradients backward.
    pub pass: Pass,
    /// Micro-batch.
    pub micro_batch: u32,
    /// Chunk of the whole pipeline that the receiver feeds with it.
    pub chunk: u32,
}

/// What a launch puts on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A kernel or a collective of the rank's group.
    Work(WorkId),
    /// A stretch of instructions that starts and ends on the compute stream.
    Block(BlockId),
    /// A stretch that communicates beside communication of other streams. It shares links with
    /// them, so that it is never folded: [`super::expand_open`] replaces it by its launches.
    OpenBlock(BlockId),
    /// A transfer to the rank with the same place in another stage.
    Send {
        /// Its size and group.
        work: WorkId,
        /// Receiving stage.
        stage: u32,
        /// Which transfer.
        tag: Tag,
    },
    /// A transfer from the rank with the same place in another stage.
    Receive {
        /// Its size and group.
        work: WorkId,
        /// Sending stage.
        stage: u32,
        /// Which transfer.
        tag: Tag,
    },
}

/// Memory that an instruction takes when it starts and gives back when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryEffect {
    /// Activations taken at the start.
    pub activations_taken: Bytes,
    /// Activations given back at the end.
    pub activations_freed: Bytes,
    /// Buffers (gathered parameters, whole gradients) taken at the start.
    pub buffers_taken: Bytes,
    /// Buffers given back at the end.
    pub buffers_freed: Bytes,
}

impl MemoryEffect {
    /// Both at once.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            activations_taken: self.activations_taken + other.activations_taken,
            activations_freed: self.activations_freed + other.activations_freed,
            buffers_taken: self.buffers_taken + other.buffers_taken,
            buffers_freed: self.buffers_freed + other.buffers_freed,
        }
    }
}

/// An instruction that puts work on a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch {
    /// What.
    pub action: Action,
    /// Where.
    pub stream: Stream,
    /// After which events, beside all that the stream holds already.
    pub waits: Waits,
    /// Event recorded when it ends.
    pub records: EventId,
    /// Forward or backward of the pipeline it belongs to.
    pub task: Option<Task>,
    /// What it does to memory.
    pub memory: MemoryEffect,
}

/// An instruction of the host thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Puts work on a stream, at the cost of a launch.
    Launch(Launch),
    /// Keeps the host busy.
    Host {
        /// With what.
        label: &'static str,
        /// For how long.
        time: Seconds,
    },
    /// Blocks the host until an event is recorded.
    Synchronize {
        /// Why.
        label: &'static str,
        /// Which event.
        event: EventId,
    },
    /// Records an event when the host gets here: a hand-over to another host thread, or to work
    /// that waits for the host.
    Signal {
        /// Which event.
        event: EventId,
    },
}

impl Step {
    /// The event that the step records; `NONE` where it records none.
    pub const fn records(&self) -> EventId {
        match self {
            Self::Launch(launch) => launch.records,
            Self::Signal { event } => *event,
            Self::Host { .. } | Self::Synchronize { .. } => EventId::NONE,
        }
    }
}
