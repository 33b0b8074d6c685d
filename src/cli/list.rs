//! `stepcast list`.

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};
use std::process::ExitCode;
use stepcast::plan::schedule::SCHEDULES;
use stepcast::spec::{Cluster, Fit, Gpu, Kind, Model, Problems, Stack, load_part};
use stepcast::units::FlopsPerSecond;

use super::{Context, Format, diagnostics, output};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Models,
    Gpus,
    Clusters,
    Stacks,
    Schedules,
    Fits,
    Scenarios,
}

/// Rows under a header of keys.
struct Listing {
    keys: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// Prints the list.
pub(crate) fn run(args: &ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let listing = match args.what {
        What::Models => models(context),
        What::Gpus => gpus(context),
        What::Clusters => clusters(context),
        What::Stacks => stacks(context),
        What::Fits => fits(context),
        What::Schedules => Listing {
            keys: &["name", "description"],
            rows: SCHEDULES
                .iter()
                .map(|it| vec![it.schedule().name().to_owned(), it.description().to_owned()])
                .collect(),
        },
        What::Scenarios => Listing {
            keys: &["name"],
            rows: context
                .sources
                .names(Kind::Scenario)
                .into_iter()
                .map(|name| vec![name])
                .collect(),
        },
    };
    output::print(&listing.text(context.format)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Rows of all parts of a kind; one that cannot be read is told and left out.
fn rows<T>(
    context: &Context,
    kind: Kind,
    load: impl Fn(&str) -> Result<T, Problems>,
    row: impl Fn(&T) -> Vec<String>,
) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for name in context.sources.names(kind) {
        match load(&name) {
            Ok(part) => {
                let mut cells = vec![name];
                cells.extend(row(&part));
                rows.push(cells);
            }
            Err(problems) => diagnostics::warn(context, &problems.to_string()),
        }
    }
    rows
}

fn models(context: &Context) -> Listing {
    let load = |name: &str| load_part::<Model>(&context.sources, Kind::Model, name);
    Listing {
        keys: &["name", "parameters", "layers", "hidden", "heads", "kv_heads", "vocabulary"],
        rows: rows(context, Kind::Model, load, |model| {
            vec![
                format!("{:.2}e9", model.parameters() / 1e9),
                model.layer_count.to_string(),
                model.hidden_size.to_string(),
                model.head_count.to_string(),
                model.kv_heads().to_string(),
                model.vocabulary_size.to_string(),
            ]
        }),
    }
}

fn gpus(context: &Context) -> Listing {
    let load = |name: &str| load_part::<Gpu>(&context.sources, Kind::Gpu, name);
    Listing {
        keys: &["name", "vendor", "architecture", "memory", "memory_bandwidth", "bf16", "fp8"],
        rows: rows(context, Kind::Gpu, load, |gpu| {
            let peak =
                |peak: Option<FlopsPerSecond>| peak.map_or("-".to_owned(), |peak| peak.to_string());
            vec![
                gpu.vendor.clone(),
                gpu.architecture.clone(),
                gpu.memory.to_string(),
                gpu.memory_bandwidth.to_string(),
                peak(gpu.peak_bf16),
                peak(gpu.peak_fp8),
            ]
        }),
    }
}

fn clusters(context: &Context) -> Listing {
    let load = |name: &str| load_part::<Cluster>(&context.sources, Kind::Cluster, name);
    Listing {
        keys: &["name", "gpu", "gpus_per_node", "nodes", "domain", "scale_up", "nics", "nic"],
        rows: rows(context, Kind::Cluster, load, |cluster| {
            vec![
                cluster.gpu.name.clone(),
                cluster.gpus_per_node.to_string(),
                cluster.node_count.to_string(),
                cluster.domain_size().to_string(),
                cluster.scale_up_bandwidth.to_string(),
                cluster.nics_per_node.to_string(),
                cluster.nic_bandwidth.to_string(),
            ]
        }),
    }
}

fn stacks(context: &Context) -> Listing {
    let load = |name: &str| load_part::<Stack>(&context.sources, Kind::Stack, name);
    let yes_no = |truth: bool| if truth { "yes" } else { "no" }.to_owned();
    Listing {
        keys: &["name", "attention", "compile", "overlap_gradients", "overlap_p2p", "launch_cost"],
        rows: rows(context, Kind::Stack, load, |stack| {
            vec![
                stack.attention.name().to_owned(),
                yes_no(stack.compile),
                yes_no(stack.overlap_gradient_reduce),
                yes_no(stack.overlap_p2p),
                stack.launch_cost.to_string(),
            ]
        }),
    }
}

fn fits(context: &Context) -> Listing {
    let load = |name: &str| load_part::<Fit>(&context.sources, Kind::Fit, name);
    Listing {
        keys: &["name", "models", "rows", "compute_factor", "network_factor"],
        rows: rows(context, Kind::Fit, load, |fit| {
            vec![
                fit.models.len().to_string(),
                fit.models.iter().map(|model| model.row_count).sum::<u64>().to_string(),
                fit.compute_factor.to_string(),
                fit.network_factor.to_string(),
            ]
        }),
    }
}

impl Listing {
    fn text(&self, format: Format) -> anyhow::Result<String> {
        match format {
            Format::Text => Ok(self.table()),
            Format::Json => {
                let object = |row: &Vec<String>| {
                    let cells = self.keys.iter().zip(row);
                    Value::Object(
                        cells
                            .map(|(key, cell)| ((*key).to_owned(), Value::from(cell.as_str())))
                            .collect::<Map<_, _>>(),
                    )
                };
                let rows = Value::Array(self.rows.iter().map(object).collect());
                Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?))
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                writer.write_record(self.keys)?;
                for row in &self.rows {
                    writer.write_record(row)?;
                }
                Ok(String::from_utf8(writer.into_inner()?)?)
            }
        }
    }

    /// A table without frames, so that it pastes and greps well.
    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.keys.iter().map(|key| key.replace('_', " ")));
        for row in &self.rows {
            table.add_row(row);
        }
        let lines = table.to_string();
        let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
        format!("{}\n", lines.join("\n"))
    }
}
