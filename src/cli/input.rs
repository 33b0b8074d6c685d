//! The scenario argument that subcommands share.

use clap::Args;
use std::path::PathBuf;
use stepcast::spec::{Override, Problem, Problems, Scenario, load, warnings};

use super::{Context, diagnostics};

/// A scenario and changes to it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScenarioArgs {
    /// Scenario: a TOML file, or the name of one that ships
    pub(crate) scenario: PathBuf,
    /// Set a key, such as plan.tp=4 or model=llama3-8b; repeatable, later wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

impl ScenarioArgs {
    /// Loads the scenario and prints warnings.
    pub(crate) fn load(&self, context: &Context) -> Result<Scenario, Problems> {
        let scenario = load(&context.sources, &self.scenario, &parse_overrides(&self.overrides)?)?;
        for warning in warnings(&scenario) {
            diagnostics::warn(context, &warning);
        }
        Ok(scenario)
    }
}

/// Reads `--set` arguments; all that cannot be read are told.
pub(crate) fn parse_overrides(arguments: &[String]) -> Result<Vec<Override>, Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut overrides = Vec::new();
    for argument in arguments {
        match Override::parse(argument) {
            Ok(parsed) => overrides.push(parsed),
            Err(problem) => problems.push(problem),
        }
    }
    Problems::check(problems)?;
    Ok(overrides)
}
