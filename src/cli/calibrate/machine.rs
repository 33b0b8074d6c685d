//! `stepcast calibrate machine`: one compute and one network factor of a cluster.

use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::calibrate::{CheckOptions, MachineFactors, kinds_of, machine_factors};
use stepcast::spec::Fit;

use super::{fits, hardware, read_tables, refused, tell};
use crate::cli::{Context, Format, output};

/// Arguments of `calibrate machine`.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Tables measured on the cluster: kernels for the compute factor, collectives for the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The GPU that was measured: needed where the table does not say, else only its rows are used
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// Name of the machine
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where the fit is written, a .toml file; a scenario names it with `fit`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Compares, writes and prints.
pub(super) fn run(args: &MachineArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let (hardware, fits) = (hardware(context)?, fits(context)?);
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let options = CheckOptions { gpu: args.gpu.clone(), ..CheckOptions::default() };
    let tables = read_tables(&args.files)?;
    for table in &tables {
        for kind in kinds_of(table, None).map_err(|fault| refused(&fault))? {
            let (checked, left_out) =
                kind.check(table, &hardware, &fits, &options).map_err(|fault| refused(&fault))?;
            rows.extend(checked);
            faults.extend(left_out);
        }
    }
    tell(&faults, context);
    let factors = machine_factors(&rows);
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let fit = fit(args, &factors, &names.join(", "));
    if let Some(out) = &args.out {
        let text = fit.to_toml()?;
        output::write_file(out, |file| file.write_all(text.as_bytes()))?;
    }
    output::print(&match context.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&factors)?),
        Format::Csv => super::residuals::csv(
            &["name", "compute_factor", "compute_rows", "network_factor", "network_rows"],
            &[vec![
                args.name.clone(),
                factors.compute_factor.to_string(),
                factors.compute_rows.to_string(),
                factors.network_factor.to_string(),
                factors.network_rows.to_string(),
            ]],
        )?,
        Format::Text => format!(
            "compute factor {:.3} from {} rows, network factor {:.3} from {} rows\n\
             (measured over predicted time; error in common after them: {:.1} %)\n",
            factors.compute_factor,
            factors.compute_rows,
            factors.network_factor,
            factors.network_rows,
            100.0 * factors.machine_error
        ),
    })?;
    Ok(if rows.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn fit(args: &MachineArgs, factors: &MachineFactors, tables: &str) -> Fit {
    let mut fit = Fit {
        name: args.name.clone(),
        compute_factor: factors.compute_factor,
        network_factor: factors.network_factor,
        machine_error: Some(factors.machine_error),
        ..Fit::default()
    };
    for (key, rows) in
        [("compute_factor", factors.compute_rows), ("network_factor", factors.network_rows)]
    {
        if rows > 0 {
            fit.sources.insert(key.to_owned(), format!("{rows} rows of {tables}"));
        }
    }
    fit
}
