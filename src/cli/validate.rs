//! `stepcast validate`: measured training runs against predictions.

use anyhow::Context as _;
use clap::Args;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::report::validation;
use stepcast::spec::{Problem, Problems, published_runs};
use stepcast::validate::{Assignment, CaseFile, Entry, read_runs, validate};

use super::calibrate::read_tables;
use super::progress::progress;
use super::{Context, Format, data, diagnostics, output, style};

/// What a table of runs looks like.
const COLUMNS: &str = "\
A table of runs is a CSV with a row a run; blank is what the source does not say. Columns:
  id family source_ref stack model
  layers hidden ffn mlp (gelu or swiglu) heads kv_heads head_dim vocab tied_embeddings seq_len
  experts experts_topk moe_ffn shared_experts
  gpu gpus gpus_per_node cluster
  tp pp vp dp cp cp_kind ep etp sequence_parallel zero (0 to 3) shard_group
  micro_batch global_batch (sequences)
  precision grad_dtype recompute attention tp_overlap dp_overlap compile cuda_graph dispatcher
  step_time_s peak_mem_gib mem_kind (allocated, reserved, rank0, nvidia-smi) quality
Needed are id, family, stack, layers, hidden, gpu, gpus, global_batch and step_time_s.";

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(after_help = COLUMNS)]
pub(crate) struct ValidateArgs {
    /// Tables of measured runs (CSV), files of published runs (TOML), or folders of these
    /// [default: the published runs that ship]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The stack of all rows of tables, in place of their own
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The cluster of all rows of tables, in place of their own
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Show the runs that are furthest off
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
    /// Also write a page with tables and a chart
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Also write the scenario of each run, to simulate or change it by itself
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Predicts and prints; fails when no run has a prediction.
pub(crate) fn run(args: &ValidateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let entries = entries(args, context)?;
    if entries.is_empty() {
        return Err(Problems::from(Problem::new("", "there are no runs")).into());
    }
    if let Some(folder) = &args.scenarios {
        write_scenarios(&entries, folder)?;
    }
    let assumed: BTreeSet<&String> = entries.iter().flat_map(|entry| &entry.assumed).collect();
    for assumption in assumed {
        diagnostics::warn(context, assumption);
    }
    let progress = progress(Some(entries.len()), "validating", context);
    let validation = validate(&context.sources, &entries, &|| progress.inc(1));
    progress.finish_and_clear();
    if let Some(path) = &args.report {
        output::write_file(path, |file| validation::write_html(&validation, file))?;
    }
    let mut text = Vec::new();
    match context.format {
        Format::Text => {
            validation::write_text(&validation, args.worst, style::of(context), &mut text)?;
        }
        Format::Json => validation::write_json(&validation, &mut text)?,
        Format::Csv => validation::write_csv(&validation, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(if validation.overall.n > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn entries(args: &ValidateArgs, context: &Context) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if args.paths.is_empty() {
        for (name, text) in published_runs() {
            entries.extend(CaseFile::read(&format!("validation/{name}.toml"), text)?.entries());
        }
    }
    let (stack, cluster) = (args.stack.clone(), args.cluster.clone());
    let assignment = Assignment { stack, cluster, selects: false };
    for path in files(&args.paths)? {
        if has_extension(&path, "toml") {
            let name = path.display().to_string();
            let wrong = |why| Problems::from(Problem::new("", format!("{name}: {why}")));
            let text = data::read(&path).map_err(wrong)?;
            entries.extend(CaseFile::read(&name, &text)?.entries());
        } else {
            for table in read_tables(&[path])? {
                entries.extend(read_runs(&context.sources, &table, &assignment)?);
            }
        }
    }
    Ok(entries)
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Files as they are; of folders the tables and the files of published runs, by name.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| path.display().to_string())?.path();
            // Figures of peers stand among the published runs, and are none.
            let is_peers = file.file_stem().is_some_and(|stem| stem == "peers");
            let is_runs = has_extension(&file, "csv") || has_extension(&file, "toml");
            if is_runs && !is_peers && file.is_file() {
                found.push(file);
            }
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// One TOML a run, by the name of the run.
fn write_scenarios(entries: &[Entry], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for entry in entries {
        let Ok(text) = &entry.scenario else { continue };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let name = entry.id.replace(|letter| !is_plain(letter), "_");
        let path = folder.join(format!("{name}.toml"));
        output::write_file(&path, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}
