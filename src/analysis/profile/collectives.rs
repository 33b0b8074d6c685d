//! Collectives: who arrived when, and what was waiting and what was transfer.

use serde::Serialize;
use std::collections::BTreeMap;

use super::{ProfileOptions, RankProfile, Work};
use crate::timeline::{LabelId, Meeting, Span, SpanId, Timeline};
use crate::units::{Instant, Picoseconds};
use crate::work::{Class, CollectiveKind};

/// What is known of a kernel that communicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCollective {
    /// The kernel.
    pub span: SpanId,
    /// The operation.
    pub kind: Option<CollectiveKind>,
    /// Format of its elements.
    pub dtype: Option<LabelId>,
    /// Ranks of its group.
    pub group_size: Option<u64>,
}

/// A member of a collective.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Arrival {
    /// Index of the process in the timeline.
    #[serde(skip)]
    pub process: u32,
    /// Its rank.
    pub rank: u64,
    /// How long after the first member its kernel began.
    #[serde(rename = "late_us")]
    pub late: Picoseconds,
    /// From its arrival to that of the last member.
    #[serde(rename = "waiting_us")]
    pub waiting: Picoseconds,
    /// From the arrival of the last member to the end of its kernel.
    #[serde(rename = "transfer_us")]
    pub transfer: Picoseconds,
}

/// A collective whose members are in the timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CollectiveProfile {
    /// Name of its communicator.
    pub communicator: String,
    /// How many of that communicator came before.
    pub sequence: u32,
    /// Name of its kernel.
    pub kernel: String,
    /// The operation, named as by NCCL tests, where something says it.
    pub operation: Option<&'static str>,
    /// Format of its elements, where something says it.
    pub dtype: Option<String>,
    /// Ranks of its group, where something says it; members may be fewer.
    pub group_size: Option<u64>,
    /// When the first member arrived, since the start of the timeline.
    #[serde(rename = "start_us")]
    pub start: Picoseconds,
    /// From the first to the last arrival.
    #[serde(rename = "skew_us")]
    pub skew: Picoseconds,
    /// Rank that arrived last.
    pub last_rank: u64,
    /// From the last arrival to the last end.
    #[serde(rename = "transfer_us")]
    pub transfer: Picoseconds,
    /// From the first to the last end.
    #[serde(rename = "end_spread_us")]
    pub end_spread: Picoseconds,
    /// Bytes as nccl-tests counts them, where the recording says them.
    pub bytes: Option<u64>,
    /// Bytes over transfer: the algorithm bandwidth of nccl-tests.
    pub algorithm_bandwidth_gb_per_s: Option<f64>,
    /// The bus bandwidth of nccl-tests: what the slowest link carried if the data went the shortest
    /// way. Only where all ranks of the group are members, so that the transfer is known.
    pub bus_bandwidth_gb_per_s: Option<f64>,
    /// Its members, by process.
    pub members: Vec<Arrival>,
}

/// Communication of a process with members in the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RankCommunication {
    /// Collectives.
    pub collectives: u64,
    /// Of these, how many it arrived at last.
    pub last_arrivals: u64,
    /// Time its kernels waited for other members.
    #[serde(rename = "waiting_us")]
    pub waiting: Picoseconds,
    /// Time its kernels moved data.
    #[serde(rename = "transfer_us")]
    pub transfer: Picoseconds,
    /// Time that others waited for it where it arrived last: behind the member before it.
    #[serde(rename = "caused_waiting_us")]
    pub caused_waiting: Picoseconds,
}

/// Communication of an operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OperationTime {
    /// The operation, named as by NCCL tests; `unknown` where nothing says it.
    pub operation: &'static str,
    /// How many kernels.
    pub count: u64,
    /// Time on the device, waiting included.
    #[serde(rename = "total_us")]
    pub total: Picoseconds,
    /// Bytes of those that say them.
    pub bytes: u64,
    /// How many say them.
    pub sized_count: u64,
}

/// All collectives of a timeline, in order of their first arrivals.
pub(super) fn collectives(timeline: &Timeline, options: &ProfileOptions) -> Vec<CollectiveProfile> {
    let known: BTreeMap<SpanId, &KnownCollective> =
        options.communication.iter().map(|known| (known.span, known)).collect();
    let collective = |meeting| collective(timeline, meeting, &known, options.world_size);
    let mut all: Vec<CollectiveProfile> = timeline.meetings.iter().filter_map(collective).collect();
    all.sort_by_key(|it| it.start);
    all
}

/// Factor from algorithm to bus bandwidth of an operation of so many ranks (`doc/PERFORMANCE.md` of
/// NVIDIA/nccl-tests).
fn bus_factor(kind: CollectiveKind, ranks: u64) -> f64 {
    let others = 1.0 - 1.0 / ranks as f64;
    match kind {
        CollectiveKind::AllReduce => 2.0 * others,
        CollectiveKind::AllGather | CollectiveKind::ReduceScatter | CollectiveKind::AllToAll => {
            others
        }
        CollectiveKind::Broadcast | CollectiveKind::SendReceive => 1.0,
    }
}

fn collective(
    timeline: &Timeline,
    meeting: &Meeting,
    known: &BTreeMap<SpanId, &KnownCollective>,
    world_size: Option<u64>,
) -> Option<CollectiveProfile> {
    let members: Vec<&Span> =
        meeting.members.iter().filter_map(|member| timeline.spans.get(member.0 as usize)).collect();
    let first_span = members.first()?;
    let arrived = |span: &Span| span.occupied().0;
    let first = members.iter().map(|span| arrived(span)).min()?;
    // Of equal arrivals the first process counts as the last.
    let last_span = members.iter().rev().max_by_key(|span| arrived(span))?;
    let last = arrived(last_span);
    let ends = || members.iter().map(|span| span.end);
    let transfer = Picoseconds::between(last, ends().max()?);
    let bytes = members.iter().map(|span| span.bytes.value()).fold(0.0, f64::max);
    let rank = |span: &Span| {
        let process = timeline.processes.get(span.process as usize);
        process.map_or(u64::from(span.process), |process| process.rank)
    };
    let arrival = |span: &&Span| Arrival {
        process: span.process,
        rank: rank(span),
        late: Picoseconds::between(first, arrived(span)),
        waiting: Picoseconds::between(arrived(span), last.min(span.end)),
        transfer: Picoseconds::between(last, span.end),
    };
    let has_bytes = bytes > 0.0;
    let known: Vec<&KnownCollective> =
        meeting.members.iter().filter_map(|member| known.get(member).copied()).collect();
    let kind = known.iter().find_map(|known| known.kind);
    let dtype = known.iter().find_map(|known| known.dtype);
    let count = members.len() as u64;
    // Two of a group take part in a message; a group of all ranks of the job needs no telling.
    let of_all = world_size.filter(|&all| all == count);
    let group_size = known.iter().find_map(|known| known.group_size).or(of_all);
    let is_message = kind == Some(CollectiveKind::SendReceive);
    let is_whole = if is_message { count == 2 } else { group_size == Some(count) };
    let algorithm_bandwidth = (has_bytes && transfer > Picoseconds::ZERO)
        .then(|| bytes / transfer.seconds().value() / 1e9);
    let bus_factor = kind.filter(|_| is_whole).map(|kind| bus_factor(kind, count));
    Some(CollectiveProfile {
        communicator: timeline.labels.name(meeting.communicator).to_owned(),
        sequence: meeting.sequence,
        kernel: timeline.labels.name(first_span.label).to_owned(),
        start: Picoseconds::between(Instant::START, first),
        skew: Picoseconds::between(first, last),
        last_rank: rank(last_span),
        transfer,
        end_spread: Picoseconds::between(ends().min()?, ends().max()?),
        bytes: has_bytes.then_some(bytes as u64),
        operation: kind.map(CollectiveKind::name),
        dtype: dtype.map(|dtype| timeline.labels.name(dtype).to_owned()),
        group_size,
        algorithm_bandwidth_gb_per_s: algorithm_bandwidth,
        bus_bandwidth_gb_per_s: algorithm_bandwidth
            .zip(bus_factor)
            .map(|(bandwidth, factor)| bandwidth * factor),
        members: members.iter().map(arrival).collect(),
    })
}

/// Adds up by process.
pub(super) fn count(collectives: &[CollectiveProfile], ranks: &mut [RankProfile]) {
    for collective in collectives {
        let mut late: Vec<Picoseconds> = collective.members.iter().map(|it| it.late).collect();
        late.sort_unstable();
        let ahead = late.len().checked_sub(2).map_or(Picoseconds::ZERO, |it| late[it]);
        for member in &collective.members {
            let Some(rank) = ranks.get_mut(member.process as usize) else { continue };
            let sum = &mut rank.communication;
            sum.collectives += 1;
            sum.waiting += member.waiting;
            sum.transfer += member.transfer;
            if member.rank == collective.last_rank && collective.skew > Picoseconds::ZERO {
                sum.last_arrivals += 1;
                sum.caused_waiting += collective.skew - ahead;
            }
        }
    }
}

/// Communication of a process by operation, the longest first.
pub(super) fn operations(work: &Work<'_>, known: &[KnownCollective]) -> Vec<OperationTime> {
    let known: BTreeMap<u32, CollectiveKind> =
        known.iter().filter_map(|known| Some((known.span.0, known.kind?))).collect();
    let mut sums: BTreeMap<Option<CollectiveKind>, OperationTime> = BTreeMap::new();
    for (index, span) in &work.device {
        if !matches!(span.class, Class::Communication(_)) {
            continue;
        }
        let kind = known.get(index).copied();
        let sum = sums.entry(kind).or_default();
        let (from, to) = span.occupied();
        sum.operation = kind.map_or("unknown", CollectiveKind::name);
        sum.count += 1;
        sum.total += Picoseconds::between(from, to);
        sum.sized_count += u64::from(span.bytes.value() > 0.0);
        sum.bytes = sum.bytes.saturating_add(span.bytes.value() as u64);
    }
    let mut sums: Vec<OperationTime> = sums.into_values().collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.total));
    sums
}
