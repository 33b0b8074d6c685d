//! `stepcast schema`.

use clap::{Args, ValueEnum};
use std::process::ExitCode;
use stepcast::spec::{Kind, part_schema};

use super::output;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Kind of file
    #[arg(value_enum, default_value_t = FileKind::Scenario)]
    kind: FileKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileKind {
    Scenario,
    Model,
    Gpu,
    Cluster,
    Stack,
    Fit,
}

/// Prints the schema.
pub(crate) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let kind = match args.kind {
        FileKind::Scenario => Kind::Scenario,
        FileKind::Model => Kind::Model,
        FileKind::Gpu => Kind::Gpu,
        FileKind::Cluster => Kind::Cluster,
        FileKind::Stack => Kind::Stack,
        FileKind::Fit => Kind::Fit,
    };
    let text = serde_json::to_string_pretty(&part_schema(kind))?;
    output::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
