//! From a scenario to a predicted step: the whole path in one place.

mod facts;
mod price;

use crate::analysis::{Summary, summarize};
use crate::plan::{Layout, PlanError};
use crate::program::{Program, RankSelection, expand, expand_open, lower, verify};
use crate::sim::{Costs, HostCosts, Machine, Record, SimError, block_costs, run};
use crate::spec::Scenario;
use crate::timeline::Timeline;

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
    #[error("the plan does not work: {0}")]
    Plan(#[from] PlanError),
    /// The step does not end.
    #[error(transparent)]
    Simulation(#[from] SimError),
    /// Every rank of a large cluster, kernel by kernel, is more than a machine holds.
    #[error(
        "simulating all {ranks} ranks needs about {launches:.1e} launches, and {limit:.0e} is the \
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

/// Most launches that [`Detail::Unfolded`] takes on: some 10 GB of timeline.
const LAUNCH_LIMIT: f64 = 5e7;

/// Simulates a training step.
///
/// # Errors
///
/// When the plan does not fit model and cluster, or the step would hang.
pub fn simulate(scenario: &Scenario, detail: Detail) -> Result<Prediction, SimulateError> {
    let layout = Layout::new(scenario)?;
    let selection = match detail {
        Detail::Folded | Detail::Kernels => RankSelection::Representatives,
        Detail::Unfolded => RankSelection::All,
    };
    if detail == Detail::Unfolded {
        refuse_too_large(scenario, &layout)?;
    }
    let program = lower(scenario, &layout, selection);
    verify(&program).map_err(SimError::from)?;
    let pricing = price::price(&program, scenario, &layout);
    let machine = Machine {
        host: Some(HostCosts {
            launch_latency: scenario.cluster.gpu.launch_latency,
            queue_depth: scenario.stack.launch_queue_depth.min(u64::from(u32::MAX)) as u32,
        }),
        communication_slowdown: scenario.stack.communication_slowdown,
        record: match detail {
            Detail::Folded => Record::Devices,
            Detail::Kernels | Detail::Unfolded => Record::DevicesAndHosts,
        },
    };
    let mut costs = Costs { works: pricing.costs.clone(), blocks: Vec::new() };
    let outcome = if detail == Detail::Folded {
        costs.blocks = block_costs(&program, &costs.works, &machine)?;
        run(&expand_open(program.clone()), &costs, &machine)?
    } else {
        run(&expand(&program), &costs, &machine)?
    };
    let facts = facts::step_facts(scenario, &layout, &program, &pricing, &outcome);
    let summary = summarize(&outcome.timeline, &facts);
    Ok(Prediction { summary, timeline: outcome.timeline, event_count: outcome.event_count })
}

fn refuse_too_large(scenario: &Scenario, layout: &Layout) -> Result<(), SimulateError> {
    let folded = lower(scenario, layout, RankSelection::Representatives);
    let launches = expanded_launches(&folded) * layout.mesh.stage_size() as f64;
    if launches > LAUNCH_LIMIT {
        return Err(SimulateError::TooLarge {
            ranks: layout.mesh.world_size(),
            launches,
            limit: LAUNCH_LIMIT,
        });
    }
    Ok(())
}

/// Launches of one rank of each stage, blocks opened.
fn expanded_launches(program: &Program) -> f64 {
    facts::work_counts(program).iter().flatten().sum()
}
