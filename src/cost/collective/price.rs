//! The price of a collective: least time over algorithms and protocols.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::ALGORITHMS;
use super::algorithm::{CollectiveAlgorithm, Fill, Round, Shares, Steps};
use super::load::{Busy, Loads};
use super::protocol::{LL, Protocol};
use crate::cost::book::Evidence;
use crate::cost::learned::LearnedCollectives;
use crate::topology::{Placement, Topology};
use crate::units::{Bytes, Seconds};
use crate::work::{Collective, CollectiveKind};

/// Parts into which a smaller message is cut (NCCL: `NCCL_STEPS`).
const CHUNKS_MIN: f64 = 8.0;

/// Share of the memory bandwidth at which the few SMs of a collective copy a rank's own part: of
/// 2.0 TB/s on A100 and 3.35 on H100, from all-gathers of 2 and 4 GPUs against 8
/// (aiconfigurator@095f58a: 0.18 and 0.23).
const COPY_SHARE: f64 = 0.2;

/// What a collective costs on an otherwise idle machine, its siblings aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CollectivePrice {
    /// From the start of the last member's kernel to the end.
    pub time: Seconds,
    /// The part of it that grows with the bytes: links and copies, without latencies.
    pub transfer: Seconds,
    /// The algorithm that took least time.
    pub algorithm: &'static str,
    /// The protocol that took least time.
    pub protocol: &'static str,
    /// Share of a member GPU's scale-up port in use on average, 0 to 1.
    pub scale_up_fraction: f64,
    /// Share of a member GPU's part of its node's NICs in use on average, 0 to 1.
    pub network_fraction: f64,
    /// Who answered.
    pub evidence: Evidence,
    /// Expected relative error of the time, one sigma.
    pub relative_error: f64,
}

/// Expected relative error of the algorithms' closed forms, one sigma: 4 % on average for
/// all-reduces of 1 GB and more across nodes, up to 40 % for medium ones over EFA.
const CLOSED_FORM_ERROR: f64 = 0.15;

impl CollectivePrice {
    /// Of an operation that moves nothing.
    const NOTHING: Self = Self {
        time: Seconds::ZERO,
        transfer: Seconds::ZERO,
        algorithm: "none",
        protocol: "none",
        scale_up_fraction: 0.0,
        network_fraction: 0.0,
        evidence: Evidence::Roofline,
        relative_error: 0.0,
    };
}

/// What is remembered: for each placement and kind, the algorithms that can run it.
type Known = FxHashMap<(Placement, CollectiveKind), Arc<Candidates>>;

/// The algorithms that can run an operation on a placement.
#[derive(Debug)]
struct Candidates {
    all: Vec<Candidate>,
    /// Whether the group lies within one scale-up domain.
    in_one_domain: bool,
}

/// Prices collectives on a machine and remembers what does not depend on their size.
#[derive(Debug)]
pub struct CollectiveCost {
    topology: Topology,
    learned: Option<LearnedCollectives>,
    known: Mutex<Known>,
}

impl CollectiveCost {
    /// For a machine.
    pub fn new(topology: &Topology) -> Self {
        Self { topology: topology.clone(), learned: None, known: Mutex::default() }
    }

    /// With what was measured within its scale-up domains, which answers before the algorithms.
    #[must_use]
    pub fn with_learned(self, learned: Option<LearnedCollectives>) -> Self {
        Self { learned, ..self }
    }

    /// The machine.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The price of an operation of the placement's first group while its siblings run the same.
    ///
    /// Zero for a single rank or no bytes; infinite where the network has no bandwidth. The GPUs
    /// of a group are distinct and in the machine, else this panics or misprices.
    pub fn price(&self, collective: &Collective, placement: &Placement) -> CollectivePrice {
        let moves = collective.bytes.value() > 0.0 && placement.group().len() > 1;
        if !moves {
            return CollectivePrice::NOTHING;
        }
        let key = (placement.clone(), collective.kind);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates = match known.get(&key) {
            Some(candidates) => Arc::clone(candidates),
            None => {
                let candidates = candidates(collective.kind, placement, &self.topology);
                Arc::clone(known.entry(key).or_insert(candidates))
            }
        };
        drop(known);
        let prices = candidates.all.iter().flat_map(|candidate| {
            let protocols = candidate.algorithm.protocols().iter();
            let price = move |protocol| {
                (candidate, candidate.price(collective.bytes, protocol, &self.topology))
            };
            protocols.map(price)
        });
        let Some((candidate, price)) =
            prices.min_by(|left, right| left.1.time.value().total_cmp(&right.1.time.value()))
        else {
            return CollectivePrice::NOTHING;
        };
        let learned = self.learned.as_ref().filter(|_| candidates.in_one_domain);
        let measured = learned
            .and_then(|learned| measured(learned, collective, placement.group().len(), candidate));
        measured.map_or(price, |measured| price.taking(&measured))
    }
}

/// What was measured of an operation that is alone on its links, and how siblings stretch it.
struct Measured {
    time: f64,
    transfer: f64,
    relative_error: f64,
}

fn measured(
    learned: &LearnedCollectives,
    collective: &Collective,
    ranks: usize,
    candidate: &Candidate,
) -> Option<Measured> {
    let seconds = |bytes: f64| -> Option<(f64, f64)> {
        let answer = learned.predict(collective.kind, ranks, bytes)?;
        Some((answer.time_us * 1e-6, answer.relative_error))
    };
    let (time, relative_error) = seconds(collective.bytes.value())?;
    let (latency, _) = seconds(1.0)?;
    let latency = latency.min(time);
    let transfer = (time - latency) * candidate.stretch();
    Some(Measured { time: latency + transfer, transfer, relative_error })
}

impl CollectivePrice {
    /// The price with measured times; the same bytes are on the links for as long as those say.
    fn taking(self, measured: &Measured) -> Self {
        let longer = self.time.value() / measured.time;
        Self {
            time: Seconds::new(measured.time),
            transfer: Seconds::new(measured.transfer),
            scale_up_fraction: (self.scale_up_fraction * longer).min(1.0),
            network_fraction: (self.network_fraction * longer).min(1.0),
            evidence: Evidence::Fit,
            relative_error: measured.relative_error,
            ..self
        }
    }
}

/// What an algorithm needs for a byte of the operation.
struct Candidate {
    algorithm: &'static dyn CollectiveAlgorithm,
    shares: Shares,
    rounds: Vec<RoundCost>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {:?}", self.algorithm.name(), self.rounds)
    }
}

/// A round for an operation of one byte. Times are in seconds.
#[derive(Clone, Debug)]
struct RoundCost {
    repeat: f64,
    steps: Steps,
    fill: Fill,
    copy: f64,
    /// Busiest links, siblings included.
    busy: Busy,
    /// Busiest scale-up port of a member, by its own group.
    own_scale_up: f64,
    /// Busiest node's share of ports, by its own group.
    own_network: f64,
}

/// The algorithms that can run an operation on a placement.
fn candidates(kind: CollectiveKind, placement: &Placement, topology: &Topology) -> Arc<Candidates> {
    let unit = Collective { kind, bytes: Bytes::new(1.0) };
    let mut members: FxHashMap<u64, usize> = FxHashMap::default();
    for gpu in placement.group() {
        *members.entry(topology.node_of(*gpu)).or_default() += 1;
    }
    let candidate = |algorithm: &&'static dyn CollectiveAlgorithm| {
        let mut rounds: Vec<(Round, Loads)> =
            algorithm.loads(&unit, placement.group(), topology)?;
        let own: Vec<(f64, f64)> = rounds
            .iter()
            .map(|(_, loads)| {
                (loads.busy(topology).scale_up, loads.node_network(&members, topology))
            })
            .collect();
        for sibling in placement.siblings().iter().filter(|sibling| sibling.len() > 1) {
            let theirs = algorithm.loads(&unit, sibling, topology).unwrap_or_default();
            for ((_, loads), (_, more)) in rounds.iter_mut().zip(&theirs) {
                loads.merge(more);
            }
        }
        let rounds = rounds.iter().zip(own).map(|((round, loads), own)| RoundCost {
            repeat: round.repeat as f64,
            steps: round.steps,
            fill: round.fill,
            copy: copy_time(round.local, topology),
            busy: loads.busy(topology),
            own_scale_up: own.0,
            own_network: own.1,
        });
        let shares = algorithm.shares(placement.group(), topology);
        Some(Candidate { algorithm: *algorithm, shares, rounds: rounds.collect() })
    };
    let domain = |gpu| topology.domain_of(gpu);
    let group = placement.group();
    let in_one_domain = group.iter().all(|gpu| domain(*gpu) == domain(group[0]));
    let all = ALGORITHMS.iter().filter_map(candidate).collect();
    Arc::new(Candidates { all, in_one_domain })
}

/// Seconds to copy within a GPU's memory.
fn copy_time(bytes: Bytes, topology: &Topology) -> f64 {
    let rate = topology.memory_bandwidth().value() * COPY_SHARE;
    if bytes.value() > 0.0 { bytes.value() / rate } else { 0.0 }
}

impl Candidate {
    /// How much longer the links of the scale-up fabric are busy for the siblings on them.
    fn stretch(&self) -> f64 {
        let sum = |seconds: fn(&RoundCost) -> f64| -> f64 {
            self.rounds.iter().map(|round| round.repeat * seconds(round)).sum()
        };
        let (all, own) = (sum(|round| round.busy.scale_up), sum(|round| round.own_scale_up));
        if own > 0.0 { (all / own).max(1.0) } else { 1.0 }
    }

    fn price(&self, bytes: Bytes, protocol: &Protocol, topology: &Topology) -> CollectivePrice {
        let bytes = bytes.value();
        let (mut latency, mut transfer) = (protocol.base, 0.0);
        let (mut scale_up, mut network) = (0.0, 0.0);
        for round in &self.rounds {
            let wire = round.wire(self.shares, protocol) * bytes;
            let fill = round.fill(wire, bytes);
            let steps = round.latency(bytes, protocol, topology) + Seconds::new(fill);
            latency += steps * round.repeat;
            transfer += round.repeat * (wire + round.copy * bytes);
            scale_up += round.repeat * round.own_scale_up * bytes / protocol.share;
            network += round.repeat * round.own_network * bytes / protocol.share;
        }
        let time = latency + Seconds::new(transfer);
        let fraction = |busy: f64| {
            let fraction = busy / time.value();
            if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 1.0 }
        };
        CollectivePrice {
            time,
            transfer: Seconds::new(transfer),
            algorithm: self.algorithm.name(),
            protocol: protocol.name,
            scale_up_fraction: fraction(scale_up),
            network_fraction: fraction(network),
            evidence: Evidence::Roofline,
            relative_error: CLOSED_FORM_ERROR,
        }
    }
}

impl RoundCost {
    /// Seconds a byte on the busiest link.
    fn wire(&self, shares: Shares, protocol: &Protocol) -> f64 {
        let scale_up = self.busy.scale_up / shares.scale_up;
        scale_up.max(self.busy.network / shares.network) / protocol.share
    }

    /// Seconds until the pipeline is full, given the seconds that all bytes take.
    fn fill(&self, wire: f64, bytes: f64) -> f64 {
        // A product with no hops may be one of zero and infinity, where there is no network.
        let time = |hops: f64, wire: f64| if hops > 0.0 { hops * wire } else { 0.0 };
        let slow =
            time(self.fill.hops, wire) + time(self.fill.scale_up_hops, self.busy.scale_up * bytes);
        slow * (self.fill.chunk / bytes).min(1.0 / CHUNKS_MIN)
    }

    fn latency(&self, bytes: f64, protocol: &Protocol, topology: &Topology) -> Seconds {
        let route = topology.network_latency(self.busy.crosses_spine, bytes);
        // Between hops over the network a hop inside a node adds the time of a flag, whatever the
        // protocol: 96 H100 take 330 us of latency for 24 hops between nodes and 166 inside.
        let paced = self.busy.network > 0.0;
        let scale_up = if paced { LL } else { *protocol }.scale_up_step(topology);
        self.steps.fixed
            + scale_up * self.steps.scale_up
            + protocol.network_step(route) * self.steps.network
    }
}

#[cfg(test)]
mod tests;
