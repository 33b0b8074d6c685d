//! Rules across the parts of a scenario: what serde cannot know and a simulation must rely on.
//!
//! Every rule runs whose parts could be read, and every breach is reported.

mod batch;
mod layout;
mod ranges;
mod warn;

pub use warn::warnings;

use super::problem::Problem;
use super::{Cluster, Fit, Model, PipelineBalance, Plan, Scenario, Stack, Training};

/// The parts of a scenario that could be read.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) name: Option<String>,
    pub(super) model: Option<Model>,
    pub(super) cluster: Option<Cluster>,
    pub(super) fit: Option<Fit>,
    pub(super) stack: Option<Stack>,
    pub(super) plan: Option<Plan>,
    pub(super) training: Option<Training>,
}

impl Parts {
    /// The scenario, when all parts could be read; `stem` names it where it does not itself.
    pub(super) fn into_scenario(self, stem: Option<String>) -> Option<Scenario> {
        let (stack, mut training) = (self.stack?, self.training?);
        training.dropout.get_or_insert(stack.dropout);
        Some(Scenario {
            name: self.name.or(stem),
            model: self.model?,
            cluster: self.cluster?,
            fit: self.fit?,
            stack,
            plan: self.plan?,
            training,
            measured: Vec::new(),
        })
    }
}

/// All rules that a scenario breaks, by key; empty when it can be simulated.
///
/// For scenarios made in code: [`super::load`] runs the same rules and adds the places.
pub fn check(scenario: &Scenario) -> Vec<Problem> {
    let Scenario { name, model, cluster, fit, stack, plan, training, .. } = scenario.clone();
    check_parts(&Parts {
        name,
        model: Some(model),
        cluster: Some(cluster),
        fit: Some(fit),
        stack: Some(stack),
        plan: Some(plan),
        training: Some(training),
    })
}

/// All rules whose parts are there.
pub(super) fn check_parts(parts: &Parts) -> Vec<Problem> {
    let mut problems = Vec::new();
    // A part out of range would make nonsense of rules across parts.
    let model = in_range(&parts.model, &mut problems, ranges::model);
    let cluster = in_range(&parts.cluster, &mut problems, ranges::cluster);
    let _ = in_range(&parts.fit, &mut problems, ranges::fit);
    let stack = in_range(&parts.stack, &mut problems, ranges::stack);
    let plan = in_range(&parts.plan, &mut problems, ranges::plan);
    let training = in_range(&parts.training, &mut problems, ranges::training);

    if let Some(plan) = plan {
        layout::schedule(plan, &mut problems);
    }
    if let (Some(plan), Some(model)) = (plan, model) {
        layout::heads(plan, model, &mut problems);
        // A stack that balances stages itself takes any number of layers.
        let balances = |stack: &Stack| stack.pipeline_balance != PipelineBalance::Layers;
        let is_even = !stack.is_some_and(balances) || plan.virtual_stages > 1;
        layout::layers(plan, model, is_even, &mut problems);
    }
    if let (Some(plan), Some(stack)) = (plan, stack) {
        layout::ring_attention(plan, stack, &mut problems);
    }
    if let (Some(plan), Some(training)) = (plan, training) {
        batch::sequence(plan, training, &mut problems);
    }
    if let (Some(model), Some(training)) = (model, training) {
        batch::positions(model, training, &mut problems);
    }
    if let (Some(cluster), Some(training)) = (cluster, training) {
        batch::precision(cluster, training, &mut problems);
    }
    if let (Some(plan), Some(cluster)) = (plan, cluster)
        && let Some(data_parallel) = layout::mesh(plan, cluster, &mut problems)
    {
        layout::sharding(plan, data_parallel, &mut problems);
        if let Some(model) = model {
            layout::experts(plan, model, data_parallel, &mut problems);
        }
        if let Some(training) = training {
            batch::micro_batches(plan, training, data_parallel, &mut problems);
        }
    }
    problems
}

/// The part, when it is there and all its numbers are in range.
fn in_range<'a, T>(
    part: &'a Option<T>,
    problems: &mut Vec<Problem>,
    rule: fn(&T, &mut Vec<Problem>),
) -> Option<&'a T> {
    let part = part.as_ref()?;
    let before = problems.len();
    rule(part, problems);
    (problems.len() == before).then_some(part)
}

/// Numbers near `found` for which `works` holds, at most one below and one above, for hints.
fn near(found: u64, limit: u64, works: impl Fn(u64) -> bool) -> Vec<u64> {
    // A hint is not worth a long search.
    let reach = 4096;
    let below = (1..found).rev().take(reach).find(|&number| works(number));
    let above = (found + 1..=limit.max(found)).take(reach).find(|&number| works(number));
    below.into_iter().chain(above).collect()
}

/// `try 4 or 8`; `None` without numbers.
fn try_hint(numbers: &[u64]) -> Option<String> {
    match numbers {
        [] => None,
        [one] => Some(format!("try {one}")),
        [first, second, ..] => Some(format!("try {first} or {second}")),
    }
}

/// A problem with the hint, if there is one.
fn with_hint(problem: Problem, hint: Option<String>) -> Problem {
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
