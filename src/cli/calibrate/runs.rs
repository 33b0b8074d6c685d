//! `stepcast calibrate runs`: two factors of a cluster, and numbers of a stack, from measured runs.
//!
//! `--format json` prints one object, a contract: keys may come, none goes. `fitted` (each `key`,
//! `before`, `after`; times in microseconds), `fitted_count`, `fitted_errors` and `held_out_count`,
//! `held_out_errors` (before and after, each `mape`, `median_ape`, `p95_ape`, `bias` as fractions),
//! `machine_error` (one sigma), and `left_out`.

use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::analysis::Errors;
use stepcast::spec::{Fit, Problem, Problems};
use stepcast::validate::{Assignment, Entry, KNOBS, Knob, Part, RunFit, fit_runs, read_runs};

use super::read_tables;
use super::residuals::{percent, text};
use crate::cli::progress::progress;
use crate::cli::{Context, Format, diagnostics, output};

/// Arguments of `calibrate runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Tables of measured runs (CSV)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The stack; rows that name another are left out where some name this one
    #[arg(long, value_name = "NAME")]
    stack: String,
    /// The cluster; rows that name another are left out where some name this one
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// What is fitted, separated by commas: compute_factor, network_factor, keys of the stack, or
    /// `stack` for all of these that can be
    #[arg(long, value_name = "KEYS", default_value = "compute_factor,network_factor")]
    parameters: String,
    /// Folder for the fit of the cluster and the stack; use it with --data
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Fits, writes and prints.
pub(super) fn run(args: &RunsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let knobs = knobs(&args.parameters)?;
    let assignment = Assignment {
        stack: Some(args.stack.clone()),
        cluster: Some(args.cluster.clone()),
        selects: true,
    };
    let mut entries: Vec<Entry> = Vec::new();
    for table in read_tables(&args.files)? {
        entries.extend(read_runs(&context.sources, &table, &assignment)?);
    }
    let assumed: BTreeSet<&String> = entries.iter().flat_map(|entry| &entry.assumed).collect();
    for assumption in assumed {
        diagnostics::warn(context, assumption);
    }
    let progress = progress(None, "simulations", context);
    let fit = fit_runs(&context.sources, &entries, &knobs, &|| progress.inc(1));
    progress.finish_and_clear();
    for reason in &fit.left_out {
        diagnostics::note(context, "left out", reason);
    }
    if fit.fitted_count == 0 {
        let problem = Problem::new("", "no run can be simulated, so nothing can be fitted");
        return Err(Problems::from(problem).into());
    }
    if let Some(out) = &args.out {
        write(args, &knobs, &fit, out)?;
    }
    output::print(&match context.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&fit)?),
        Format::Csv => super::residuals::csv(
            &["key", "before", "after"],
            &fit.fitted
                .iter()
                .map(|it| vec![it.key.to_owned(), it.before.to_string(), it.after.to_string()])
                .collect::<Vec<_>>(),
        )?,
        Format::Text => as_text(&fit),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn knobs(keys: &str) -> Result<Vec<&'static Knob>, Problems> {
    let mut knobs: Vec<&'static Knob> = Vec::new();
    for key in keys.split(',').map(str::trim) {
        let found: Vec<&'static Knob> = match (key, Knob::named(key)) {
            ("stack", _) => KNOBS.iter().filter(|knob| knob.part() == Part::Stack).collect(),
            (_, Some(knob)) => vec![knob],
            (_, None) => {
                let all: Vec<&str> = KNOBS.iter().map(Knob::key).collect();
                let problem = Problem::new("--parameters", format!("`{key}` cannot be fitted"));
                return Err(problem.hint(format!("stack, or any of {}", all.join(", "))).into());
            }
        };
        for knob in found {
            if !knobs.iter().any(|known| known.key() == knob.key()) {
                knobs.push(knob);
            }
        }
    }
    Ok(knobs)
}

fn as_text(fit: &RunFit) -> String {
    let header = ["fitted", "before", "after"];
    let row = |key: &str, before: f64, after: f64| {
        vec![key.to_owned(), format!("{before:.4}"), format!("{after:.4}")]
    };
    let rows: Vec<_> = fit.fitted.iter().map(|it| row(it.key, it.before, it.after)).collect();
    let mut out = text(&header, &rows, 1);
    let errors = |name: &str, count: u64, errors: &[Option<Errors>; 2]| -> Vec<Vec<String>> {
        let labels = ["before", "after"];
        let row = |(errors, label): (&Option<Errors>, &str)| {
            let errors = (*errors)?;
            Some(vec![
                format!("{name}, {label}"),
                count.to_string(),
                percent(errors.mape),
                percent(errors.median_ape),
                percent(errors.p95_ape),
                format!("{:+.1} %", 100.0 * errors.bias),
            ])
        };
        errors.iter().zip(labels).filter_map(row).collect()
    };
    let mut rows = errors("fitted to", fit.fitted_count, &fit.fitted_errors);
    rows.extend(errors("held out", fit.held_out_count, &fit.held_out_errors));
    out.push('\n');
    out.push_str(&text(&["runs", "n", "MAPE", "median", "P95", "bias"], &rows, 1));
    out
}

/// Writes the fit of the cluster, and the stack if numbers of it were fitted.
fn write(args: &RunsArgs, knobs: &[&Knob], fit: &RunFit, out: &Path) -> anyhow::Result<()> {
    let source = format!("fitted to {} runs (stack {})", fit.fitted_count, args.stack);
    let mut machine = Fit { name: args.cluster.clone(), ..Fit::default() };
    let mut stack = format!("base = {:?}\n", args.stack);
    let mut sources = String::from("\n[sources]\n");
    let mut is_stack_fitted = false;
    for (knob, fitted) in knobs.iter().zip(&fit.fitted) {
        let value = (fitted.after * 1e4).round() / 1e4;
        match (knob.part(), knob.key()) {
            (Part::Cluster, "compute_factor") => machine.compute_factor = value,
            (Part::Cluster, _) => machine.network_factor = value,
            (Part::Stack, key) => {
                is_stack_fitted = true;
                stack.push_str(&format!("{key} = {}\n", knob.written(value)));
                sources.push_str(&format!("{key} = {source:?}\n"));
            }
        }
        if knob.part() == Part::Cluster {
            machine.sources.insert(knob.key().to_owned(), source.clone());
        }
    }
    machine.machine_error = fit.machine_error;
    let text = machine.to_toml()?;
    let folder = out.join("hardware/fits");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.toml", args.cluster));
    output::write_file(&path, |file| file.write_all(text.as_bytes()))?;
    if is_stack_fitted {
        let folder = out.join("configs/stacks");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}-fitted.toml", args.stack));
        let text = stack + &sources;
        output::write_file(&path, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}
