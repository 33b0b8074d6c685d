//! `stepcast check`: loads a scenario and says what is wrong with it, without simulating.

use clap::Args;
use std::process::ExitCode;

use super::input::ScenarioArgs;
use super::{Context, Format, output};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    input: ScenarioArgs,
}

/// Prints a line, or with `--format json` the scenario with all names and bases resolved.
pub(crate) fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let scenario = args.input.load(context)?;
    let text = match context.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&scenario)?),
        Format::Text | Format::Csv => format!(
            "ok: {} on {} ranks of {} ({} x {})\n",
            scenario.model.name,
            scenario.world_size(),
            scenario.cluster.name,
            scenario.cluster.gpu_count(),
            scenario.cluster.gpu.name
        ),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
