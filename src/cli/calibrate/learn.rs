//! `stepcast calibrate`: tables to fits.
//!
//! `--format json` prints `models`, each with `gpu`, `kind`, `case`, `rows` and `residuals`: for
//! the parts `fitted` and `held_out` the `n` and, as fractions, `mape`, `median_ape`, `p95_ape`,
//! `bias_time_weighted`.

use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::calibrate::{Fault, KINDS, LearnOptions, Table, kinds_of};
use stepcast::spec::{Fit, LearnedModel, Problem, Problems, Residuals};

use super::residuals::{csv, percent, text};
use super::{CostKind, hardware, read_tables, refused, tell};
use crate::cli::progress::progress;
use crate::cli::{Context, Format, diagnostics, output};

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    /// Measured tables, CSV, packed with gzip or not
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The GPU that was measured: needed where the table does not say, else only its rows are used
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// Only this kind of cost [default: what the header says]
    #[arg(long, value_enum)]
    kind: Option<CostKind>,
    /// Where fits are written: a .toml file for one GPU, a folder for one file a GPU
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Keep the measured times in the fit: these very shapes are then answered by them
    #[arg(long)]
    keep_rows: bool,
}

/// A model's errors, as printed.
#[derive(Serialize)]
struct Row<'a> {
    gpu: &'a str,
    kind: &'a str,
    case: &'a str,
    rows: u64,
    residuals: &'a BTreeMap<String, Residuals>,
}

/// Learns, writes and prints.
pub(super) fn run(args: &LearnArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let hardware = hardware(context)?;
    let tables = read_tables(&args.files)?;
    let wanted = args.kind.map(CostKind::name);
    let mut by_kind: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
    for table in &tables {
        for kind in kinds_of(table, wanted).map_err(|fault| refused(&fault))? {
            by_kind.entry(kind.name()).or_default().push(table);
        }
    }
    let options = LearnOptions { gpu: args.gpu.clone(), keep_rows: args.keep_rows };
    let bar = progress(None, "models", context);
    let mut models: Vec<(String, LearnedModel)> = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for kind in KINDS {
        let Some(tables) = by_kind.get(kind.name()) else { continue };
        let learned = kind
            .learn(tables, &hardware, &options, &|what| {
                bar.inc(1);
                bar.set_message(what.to_owned());
            })
            .map_err(|fault| refused(&fault))?;
        models.extend(learned.models);
        faults.extend(learned.faults);
    }
    bar.finish_and_clear();
    tell(&faults, context);
    let few: Vec<String> = models
        .iter()
        .filter(|(_, model)| !model.residuals.contains_key("held_out"))
        .map(|(gpu, model)| format!("{gpu} {} {}", model.kind, model.case))
        .collect();
    if !few.is_empty() {
        let why = format!(
            "too few rows to hold any out and test these models; `calibrate machine` learns one \
             factor instead: {}",
            few.join("; ")
        );
        diagnostics::note(context, "note", &why);
    }
    let fits = gather(models);
    if let Some(out) = &args.out {
        write(&fits, out)?;
    }
    print(&fits, context)?;
    Ok(ExitCode::SUCCESS)
}

/// One fit a GPU.
fn gather(models: Vec<(String, LearnedModel)>) -> Vec<Fit> {
    let mut fits: BTreeMap<String, Fit> = BTreeMap::new();
    for (gpu, model) in models {
        let fit = fits.entry(gpu.clone()).or_insert_with(|| Fit {
            name: format!("kernels and collectives of {gpu}"),
            gpu: Some(gpu),
            ..Fit::default()
        });
        fit.models.push(model);
    }
    let mut fits: Vec<Fit> = fits.into_values().collect();
    for fit in &mut fits {
        fit.models.sort_by(|left, right| (&left.kind, &left.case).cmp(&(&right.kind, &right.case)));
    }
    fits
}

fn write(fits: &[Fit], out: &Path) -> anyhow::Result<()> {
    let text = |fit: &Fit| fit.to_toml().map_err(io::Error::other);
    if out.extension().is_some_and(|extension| extension == "toml") {
        let [fit] = fits else {
            let gpus: Vec<&str> = fits.iter().filter_map(|fit| fit.gpu.as_deref()).collect();
            let problem = Problem::new(
                "",
                format!("--out {}: the tables hold {} GPUs", out.display(), fits.len()),
            )
            .found(gpus.join(", "))
            .hint("name a folder, or choose one with --gpu");
            return Err(Problems::from(problem).into());
        };
        return output::write_file(out, |file| file.write_all(text(fit)?.as_bytes()));
    }
    if !out.is_dir() {
        let problem = Problem::new("", format!("--out {}: not a folder", out.display()))
            .hint("make it first, or name a file that ends in .toml");
        return Err(Problems::from(problem).into());
    }
    for fit in fits {
        let name = fit.gpu.as_deref().unwrap_or("fit");
        let path = out.join(format!("{name}.toml"));
        output::write_file(&path, |file| file.write_all(text(fit)?.as_bytes()))?;
    }
    Ok(())
}

fn print(fits: &[Fit], context: &Context) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = fits
        .iter()
        .flat_map(|fit| {
            fit.models.iter().map(|model| Row {
                gpu: fit.gpu.as_deref().unwrap_or("-"),
                kind: &model.kind,
                case: &model.case,
                rows: model.row_count,
                residuals: &model.residuals,
            })
        })
        .collect();
    let header =
        ["gpu", "kind", "case", "part", "rows", "MAPE", "median", "P95", "bias (time-weighted)"];
    let cells = |shown: fn(f64) -> String| -> Vec<Vec<String>> {
        rows.iter()
            .flat_map(|row| {
                row.residuals.iter().map(move |(part, it)| {
                    let names = [row.gpu, row.kind, row.case, &part.replace('_', " ")];
                    let mut cells: Vec<String> = names.map(str::to_owned).to_vec();
                    cells.push(it.n.to_string());
                    cells.extend([it.mape, it.median_ape, it.p95_ape].map(shown));
                    cells.push(shown(it.bias_time_weighted));
                    cells
                })
            })
            .collect()
    };
    output::print(&match context.format {
        Format::Json => {
            format!("{}\n", serde_json::to_string_pretty(&serde_json::json!({ "models": rows }))?)
        }
        Format::Csv => csv(&header, &cells(|number| number.to_string()))?,
        Format::Text => text(&header, &cells(percent), 4),
    })?;
    Ok(())
}
