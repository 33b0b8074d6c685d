//! Folding in time: what a block costs as one piece of work.

use super::{BlockCost, Costs, Machine, Record, SimError, WorkCost, run};
use crate::plan::GroupKind;
use crate::program::{Action, Block, Group, Program, RankEntry, Role, Step, Stream};
use crate::timeline::{Breakdown, Lane, Timeline};
use crate::units::{Bytes, Instant, Seconds};
use crate::work::Class;

/// Costs of all blocks of a program, each found by running its launches on the same engine: once
/// behind a host that has launched everything, once from a standing start.
///
/// # Errors
///
/// When a block cannot run by itself.
pub fn block_costs(
    program: &Program,
    works: &[WorkCost],
    machine: &Machine,
) -> Result<Vec<BlockCost>, SimError> {
    let mut costs = Costs { works: works.to_vec(), blocks: Vec::new() };
    let mut alone = lone_rank(program);
    for block in &program.blocks {
        alone.roles[0].steps = block.launches.iter().copied().map(Step::Launch).collect();
        alone.roles[0].event_count = block.event_count;
        let cost = block_cost(block, &alone, &costs, machine)?;
        costs.blocks.push(cost);
    }
    Ok(costs.blocks)
}

/// A program of one rank that is alone in all its groups: its equals do what it does.
fn lone_rank(program: &Program) -> Program {
    let kinds = [GroupKind::Tensor, GroupKind::Context, GroupKind::Expert, GroupKind::ExpertTensor];
    Program {
        works: program.works.clone(),
        blocks: program.blocks.clone(),
        roles: vec![Role { stage: 0, steps: Vec::new(), ..Role::default() }],
        ranks: vec![RankEntry {
            rank: 0,
            role: 0,
            multiplicity: 1,
            groups: kinds.into_iter().zip(0..).collect(),
        }],
        groups: kinds.map(|kind| Group { kind, members: vec![0] }).to_vec(),
    }
}

fn block_cost(
    block: &Block,
    alone: &Program,
    costs: &Costs,
    machine: &Machine,
) -> Result<BlockCost, SimError> {
    let free = run(alone, costs, &Machine { host: None, record: Record::Devices, ..*machine })?;
    let joint = match machine.host {
        // Launches of one block never fill the queue by themselves.
        Some(host) => {
            let host = Some(super::HostCosts { queue_depth: u32::MAX, ..host });
            run(alone, costs, &Machine { host, record: Record::Nothing, ..*machine })?.end.seconds()
        }
        None => free.end.seconds(),
    };
    let time = free.end.seconds();
    let mut sum = BlockCost {
        time,
        host: Seconds::ZERO,
        joint,
        launches: 0,
        slowdown: 1.0,
        activations_net: Bytes::ZERO,
        activations_peak: Bytes::ZERO,
        breakdown: breakdown(&free.timeline),
    };
    let mut slowed = Seconds::ZERO;
    for launch in &block.launches {
        let (taken, freed) = (launch.memory.activations_taken, launch.memory.activations_freed);
        let mut peak = taken;
        let mut net = taken - freed;
        match launch.action {
            Action::Block(inner) | Action::OpenBlock(inner) => {
                let inner = &costs.blocks[inner.0 as usize];
                sum.host += inner.host;
                sum.launches += inner.launches;
                slowed += inner.time * (inner.slowdown - 1.0);
                peak += inner.activations_peak;
                net += inner.activations_net;
            }
            Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => {
                let cost = &costs.works[work.0 as usize];
                sum.host += cost.launch;
                sum.launches += 1;
                if launch.stream == Stream::Compute {
                    slowed += cost.time * (cost.slowdown - 1.0);
                }
            }
        }
        sum.activations_peak = sum.activations_peak.max(sum.activations_net + peak);
        sum.activations_net += net;
    }
    if time > Seconds::ZERO {
        sum.slowdown = 1.0 + slowed / time;
    }
    Ok(sum)
}

/// What a block is made of, from its run behind an absent host: in a gap of the compute stream
/// only communication can be awaited, and it is the one that ends last in the gap.
fn breakdown(timeline: &Timeline) -> Breakdown {
    let mut breakdown = Breakdown::default();
    let mut communication: Vec<(Instant, Class)> = Vec::new();
    for span in &timeline.spans {
        if let Lane::Communication(axis, _) = span.lane {
            communication.push((span.end, span.class));
            breakdown.add_traffic(axis, span.end - span.start, span.bytes);
        }
    }
    communication.sort_by_key(|entry| entry.0);
    let mut compute_until = Instant::START;
    for span in timeline.lane(0, Lane::Compute) {
        if span.start > compute_until {
            let ended = communication.partition_point(|entry| entry.0 <= span.start);
            let class = ended.checked_sub(1).map_or(Class::Host, |index| communication[index].1);
            breakdown.add(class, span.start - compute_until);
        }
        match span.breakdown {
            Some(inner) => {
                let inner = &timeline.breakdowns[inner as usize];
                let stretch = if inner.total() > Seconds::ZERO {
                    (span.end - span.start) / inner.total()
                } else {
                    1.0
                };
                inner
                    .exclusive
                    .iter()
                    .for_each(|&(class, time)| breakdown.add(class, time * stretch));
                for traffic in &inner.traffic {
                    breakdown.add_traffic(traffic.axis, traffic.total, traffic.bytes);
                }
            }
            None => breakdown.add(span.class, span.end - span.start),
        }
        compute_until = span.end;
    }
    breakdown
}
