//! From a scenario to a predicted step: the whole path in one place.

mod facts;
mod price;
mod trust;

use crate::analysis::{Summary, summarize};
use crate::plan::{Layout, PlanError};
use crate::program::{
    Program, RankSelection, close_open, expand, expand_open, lower, select_ranks, verify,
};
use crate::sim::{Costs, HostCosts, Machine, Record, SimError, block_costs, run};
use crate::spec::Scenario;
use crate::timeline::Timeline;
use crate::units::Seconds;

/// How much of the step is simulated one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// One rank a stage, and repeating stretches once: milliseconds for any cluster.
    #[default]
    Folded,
    /// One rank a stage, kernel by kernel: what a trace shows.
    Kernels,
    /// Every rank, kernel by kernel: the judge of the other two.
    Unfolded,
}

/// A predicted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The step in numbers.
    pub summary: Summary,
    /// What happened when.
    pub timeline: Timeline,
    /// Events that the engine went through.
    pub event_count: u64,
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// The plan cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The step does not end.
    #[error(transparent)]
    Simulation(#[from] SimError),
    /// A fit cannot be read.
    #[error("{0}")]
    Fit(String),
    /// Every rank of a large cluster, kernel by kernel, is more than a machine holds.
    #[error(
        "simulating {ranks} ranks kernel by kernel needs about {launches:.1e} launches, and {limit:.0e} is the \
         limit; use the folded detail, or fewer replicas"
    )]
    TooLarge {
        /// Ranks.
        ranks: u64,
        /// Launches of all of them.
        launches: f64,
        /// Most that are simulated.
        limit: f64,
    },
}

/// Most launches simulated beside communication that they share links with: about a second.
const OPEN_LAUNCH_LIMIT: f64 = 1e6;
/// Most launches that the unfolded details take on: some 10 GB of timeline.
const LAUNCH_LIMIT: f64 = 5e7;

/// Simulates a training step.
///
/// # Errors
///
/// When the plan does not fit model and cluster, or the step would hang.
pub fn simulate(scenario: &Scenario, detail: Detail) -> Result<Prediction, SimulateError> {
    let layout = Layout::new(scenario)?;
    let mut program = lower(scenario, &layout, RankSelection::Representatives);
    let equal_ranks = if detail == Detail::Unfolded { layout.mesh.stage_size() } else { 1 };
    if detail != Detail::Folded {
        refuse_too_large(&program, equal_ranks)?;
    }
    if detail == Detail::Unfolded {
        (program.ranks, program.groups) = select_ranks(&layout, RankSelection::All);
    }
    verify(&program).map_err(SimError::from)?;
    let pricing = price::price(&program, scenario, &layout).map_err(SimulateError::Fit)?;
    let machine = Machine {
        host: Some(HostCosts {
            launch_latency: scenario.cluster.gpu.launch_latency,
            queue_depth: scenario.stack.launch_queue_depth.min(u64::from(u32::MAX)) as u32,
        }),
        communication_slowdown: scenario.stack.communication_slowdown,
        dispatch_gap: Seconds::ZERO,
        record: match detail {
            Detail::Folded => Record::Devices,
            Detail::Kernels | Detail::Unfolded => Record::DevicesAndHosts,
        },
    };
    let mut costs = Costs { works: pricing.costs.clone(), blocks: Vec::new() };
    let mut warnings = Vec::new();
    let outcome = if detail == Detail::Folded {
        costs.blocks = block_costs(&program, &costs.works, &machine)?;
        let (program, warning) = fold_in_time(&program);
        warnings.extend(warning);
        run(&program, &costs, &machine)?
    } else {
        run(&expand(&program), &costs, &machine)?
    };
    let mut facts = facts::step_facts(scenario, &layout, &program, &pricing, &outcome);
    warnings.extend(trust::warnings(scenario, &program, &pricing));
    facts.warnings.append(&mut warnings);
    let summary = summarize(&outcome.timeline, &facts);
    Ok(Prediction { summary, timeline: outcome.timeline, event_count: outcome.event_count })
}

/// The program with its closed blocks as they are, and its open ones as their launches while those
/// are few enough; else with all blocks, and a warning of what that leaves out.
fn fold_in_time(program: &Program) -> (Program, Option<String>) {
    let open = facts::open_launches(program);
    if open <= OPEN_LAUNCH_LIMIT {
        return (expand_open(program.clone()), None);
    }
    let warning = format!(
        "{open:.1e} launches communicate beside other communication; they were folded all the \
         same, which leaves out that they share links and can make the step up to some 2 % too \
         short; `--detail kernels` counts them one by one"
    );
    (close_open(program.clone()), Some(warning))
}

/// Refuses a program of one rank a stage that is too large kernel by kernel when each of its ranks
/// stands for `equal_ranks` that are simulated.
fn refuse_too_large(program: &Program, equal_ranks: u64) -> Result<(), SimulateError> {
    let launches = expanded_launches(program) * equal_ranks as f64;
    if launches > LAUNCH_LIMIT {
        let ranks = program.ranks.len() as u64 * equal_ranks;
        return Err(SimulateError::TooLarge { ranks, launches, limit: LAUNCH_LIMIT });
    }
    Ok(())
}

/// Launches of one rank of each stage, blocks opened.
fn expanded_launches(program: &Program) -> f64 {
    facts::work_counts(program).iter().flatten().sum()
}
