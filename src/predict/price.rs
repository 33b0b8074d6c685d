//! Puts a price on every work of a program.

use crate::cost::{
    CollectiveCost, CollectivePrice, Evidence, ExchangeAnswer, KernelBook, KernelPrice,
    LearnedCollectives, LearnedExchanges, LearnedKernels,
};
use crate::plan::{GroupKind, Layout};
use crate::program::{Program, Work, WorkKind};
use crate::sim::{Ports, WorkCost};
use crate::spec::Scenario;
use crate::topology::{GpuIndex, Placement, Topology};
use crate::units::Seconds;
use crate::work::{Collective, CollectiveKind, Dispatcher, Kernel, Pass, TokenExchange};

/// Prices of a program's works.
#[derive(Clone, Debug)]
pub(super) struct Pricing {
    /// What the engine needs, by work.
    pub(super) costs: Vec<WorkCost>,
    /// What the costs rest on, by work.
    pub(super) grounds: Vec<Grounds>,
    /// The GPU whose models stand in for those of one that nobody measured.
    pub(super) scaled_from: Option<String>,
}

/// What a cost rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grounds {
    /// Who answered.
    pub(super) evidence: Evidence,
    /// Expected relative error, one sigma.
    pub(super) relative_error: f64,
    /// Whether the shape lies outside of what was measured.
    pub(super) is_outside: bool,
}

/// Expected relative error of a copy between GPU and host at the file's rate, one sigma.
const HOST_COPY_ERROR: f64 = 0.15;

/// Prices all works of a program.
///
/// # Errors
/// When a fit of the scenario cannot be read.
pub(super) fn price(
    program: &Program,
    scenario: &Scenario,
    layout: &Layout,
) -> Result<Pricing, String> {
    let (gpu, measured) = (&scenario.cluster.gpu, &scenario.measured);
    let mut kernels = KernelBook::new(gpu, &scenario.stack, &scenario.fit);
    let learned = LearnedKernels::new(gpu, measured)?;
    let scaled_from = learned.as_ref().and_then(|it| it.scaled_from().map(str::to_owned));
    if let Some(learned) = learned {
        kernels = kernels.with_model(Box::new(learned));
    }
    let topology = Topology::new(&scenario.cluster);
    let collectives = LearnedCollectives::new(&scenario.cluster, measured)?;
    let pricer = Pricer {
        scenario,
        layout,
        kernels,
        collectives: CollectiveCost::new(&topology).with_learned(collectives),
        exchanges: LearnedExchanges::new(&scenario.cluster, measured)?,
        launches_a_graph: launches_a_graph(program, scenario),
        kernel_stretch: kernel_stretch(scenario),
    };
    let (costs, grounds) = program.works.iter().map(|work| pricer.work(work)).unzip();
    Ok(Pricing { costs, grounds, scaled_from })
}

/// What slows all kernels of a step: the release, receives that wait on the GPU, and the slowest of
/// many ranks.
fn kernel_stretch(scenario: &Scenario) -> f64 {
    let stack = &scenario.stack;
    let posts_receives = stack.overlap_p2p && scenario.plan.pp > 1;
    let posted = if posts_receives { stack.posted_receive_slowdown } else { 1.0 };
    let ranks = scenario.world_size().max(1) as f64;
    stack.kernel_time_factor * posted * (1.0 + stack.straggler_fraction * ranks.ln())
}

/// Launches that one CUDA graph replaces: those of a layer's forward, the first block built.
fn launches_a_graph(program: &Program, scenario: &Scenario) -> f64 {
    if !scenario.stack.cuda_graph {
        return 1.0;
    }
    program.blocks.iter().map(|block| block.launches.len()).max().unwrap_or(1) as f64
}

struct Pricer<'a> {
    scenario: &'a Scenario,
    layout: &'a Layout,
    kernels: KernelBook,
    collectives: CollectiveCost,
    exchanges: LearnedExchanges,
    launches_a_graph: f64,
    /// Time of kernels in this step over their time alone.
    kernel_stretch: f64,
}

impl Pricer<'_> {
    fn work(&self, work: &Work) -> (WorkCost, Grounds) {
        let closed_form = Grounds {
            evidence: Evidence::Roofline,
            relative_error: HOST_COPY_ERROR,
            is_outside: false,
        };
        let stack = &self.scenario.stack;
        match &work.kind {
            WorkKind::Kernel(kernel) => {
                let price = self.kernels.price(kernel);
                let launch = match work.pass {
                    Pass::Forward => stack.launch_cost,
                    Pass::Backward => stack.backward_launch_cost,
                };
                let slowdown = price.memory_share * stack.memory_kernel_slowdown
                    + (1.0 - price.memory_share) * stack.compute_kernel_slowdown;
                let narrow = match kernel {
                    Kernel::Gemm { dtype, .. } if dtype.is_quantised() => {
                        stack.narrow_product_time_factor
                    }
                    _ => 1.0,
                };
                let cost = WorkCost {
                    time: price.time * self.kernel_stretch * narrow + self.stall(launch),
                    launch: match work.launches {
                        1 => launch / self.launches_a_graph,
                        // Calls whose number or sizes routing decides are not captured.
                        calls => launch * f64::from(calls),
                    },
                    delay: Seconds::ZERO,
                    slowdown: slowdown.max(1.0),
                    ports: Ports::default(),
                };
                let KernelPrice { evidence, relative_error, is_outside, .. } = price;
                (cost, Grounds { evidence, relative_error, is_outside })
            }
            WorkKind::HostCopy { bytes } => {
                let cost = WorkCost {
                    time: *bytes / self.scenario.cluster.host_bandwidth,
                    launch: stack.launch_cost,
                    delay: Seconds::ZERO,
                    slowdown: 1.0,
                    ports: Ports::default(),
                };
                (cost, closed_form)
            }
            WorkKind::Collective { group, collective } => self.collective(*group, collective),
            WorkKind::Exchange { group, exchange, share } => {
                self.exchange(*group, exchange, *share)
            }
            WorkKind::Recorded { .. } | WorkKind::Meeting { .. } => {
                unreachable!("a plan is priced, and holds nothing recorded")
            }
        }
    }

    /// A pairwise all-to-all of rows, or kernels that send a token once to each rank.
    fn exchange(
        &self,
        group: GroupKind,
        exchange: &TokenExchange,
        share: f64,
    ) -> (WorkCost, Grounds) {
        if exchange.dispatcher == Dispatcher::Alltoall {
            let kind = CollectiveKind::AllToAll;
            return self.collective(group, &Collective { kind, bytes: exchange.bytes() * share });
        }
        let topology = self.collectives.topology();
        let rank = self.layout.mesh.rank_in_stage(0, 0);
        let ranks = self.layout.mesh.group(group, rank);
        let mut domains: Vec<u64> =
            ranks.iter().map(|&rank| topology.domain_of(GpuIndex(rank))).collect();
        domains.sort_unstable();
        domains.dedup();
        let found = self.exchanges.predict(exchange, ranks.len(), domains.len());
        let ExchangeAnswer { answer, is_fitted, scale_up_fraction, network_fraction } = found;
        let evidence = if is_fitted { Evidence::Fit } else { Evidence::Roofline };
        let cost = WorkCost {
            time: Seconds::from_us(answer.time_us) * share * self.scenario.fit.network_factor,
            launch: self.scenario.stack.collective_launch_cost,
            delay: Seconds::ZERO,
            slowdown: 1.0,
            ports: Ports { scale_up: scale_up_fraction, network: network_fraction },
        };
        let is_outside = answer.outside > 0.0;
        (cost, Grounds { evidence, relative_error: answer.relative_error, is_outside })
    }

    /// Time for which the device has nothing to do after a kernel whose end the host awaits before
    /// it launches the next one.
    fn stall(&self, launch: Seconds) -> Seconds {
        if self.scenario.cluster.blocking_launches {
            launch + self.scenario.cluster.gpu.launch_latency
        } else {
            Seconds::ZERO
        }
    }

    fn collective(&self, kind: GroupKind, collective: &Collective) -> (WorkCost, Grounds) {
        let mut launch = self.scenario.stack.collective_launch_cost;
        if kind == GroupKind::Tensor && self.transfers_cross_nodes() {
            let stack = &self.scenario.stack;
            launch += stack.crowded_collective_launch_cost * self.scenario.plan.tp as f64;
        }
        let placement = self.placement(kind, collective.kind);
        if placement.group().len() < 2 {
            let (time, slowdown, ports) = (Seconds::ZERO, 1.0, Ports::default());
            let nothing =
                Grounds { evidence: Evidence::Roofline, relative_error: 0.0, is_outside: false };
            return (WorkCost { time, launch, delay: Seconds::ZERO, slowdown, ports }, nothing);
        }
        let price = self.collectives.price(collective, &placement);
        let cost = WorkCost {
            time: price.time * self.scenario.fit.network_factor + self.stall(launch),
            launch,
            delay: Seconds::ZERO,
            slowdown: 1.0,
            ports: Ports { scale_up: price.scale_up_fraction, network: price.network_fraction },
        };
        let CollectivePrice { evidence, relative_error, .. } = price;
        (cost, Grounds { evidence, relative_error, is_outside: false })
    }

    /// Whether stages next to each other are on different nodes.
    fn transfers_cross_nodes(&self) -> bool {
        let mesh = &self.layout.mesh;
        let node = |stage| mesh.rank_in_stage(stage, 0) / self.scenario.cluster.gpus_per_node;
        (1..mesh.size.pp).any(|stage| node(stage - 1) != node(stage))
    }

    /// The groups that run an operation at the same time, that of the first rank in front.
    ///
    /// A transfer shares links only with those of its own nodes; a ring exchange is a set of
    /// transfers between neighbours.
    fn placement(&self, kind: GroupKind, operation: CollectiveKind) -> Placement {
        let mesh = &self.layout.mesh;
        let gpu = |rank: &u64| GpuIndex(*rank);
        let groups: Vec<Vec<u64>> = match (kind, operation) {
            (GroupKind::Transfer { from, .. }, _) => {
                let first = mesh.rank_in_stage(u64::from(from), 0);
                let node = |rank: u64| rank / self.scenario.cluster.gpus_per_node;
                (0..mesh.stage_size())
                    .map(|place| mesh.rank_in_stage(u64::from(from), place))
                    .filter(|&rank| node(rank) == node(first))
                    .map(|rank| mesh.group(kind, rank))
                    .collect()
            }
            (_, CollectiveKind::SendReceive) => mesh
                .concurrent_groups(kind, mesh.rank_in_stage(0, 0))
                .iter()
                .flat_map(|group| {
                    let next = group.iter().cycle().skip(1);
                    group.iter().zip(next).map(|(&from, &to)| vec![from, to])
                })
                .collect(),
            _ => mesh.concurrent_groups(kind, mesh.rank_in_stage(0, 0)),
        };
        Placement::new(groups.iter().map(|group| group.iter().map(gpu).collect()).collect())
    }
}
