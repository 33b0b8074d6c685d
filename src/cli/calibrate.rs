//! `stepcast calibrate`: measured tables to fits, and how far predictions are from tables.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::calibrate::{Fault, Hardware, Table};
use stepcast::spec::{Fit, Gpu, Kind, Problem, Problems, load_part};

use super::{Context, diagnostics};

mod check;
mod learn;
mod machine;
mod residuals;
mod runs;
mod trace;

/// Larger tables, unpacked, are refused.
const MOST_BYTES: u64 = 1 << 30;

/// Reasons for rows left out that are told; the others are counted.
const FAULTS_NAMED: usize = 10;

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct CalibrateArgs {
    #[command(subcommand)]
    command: Option<CalibrateCommand>,
    #[command(flatten)]
    learn: learn::LearnArgs,
}

#[derive(Debug, Subcommand)]
enum CalibrateCommand {
    /// Predict every row of measured tables with the fits that ship; fit nothing
    Check(check::CheckArgs),
    /// One compute and one network factor of a cluster, against the fits that ship
    Machine(machine::MachineArgs),
    /// Two factors of a cluster, and numbers of a stack, from measured training runs
    Runs(runs::RunsArgs),
    /// Measured tables, launch costs and interference from recorded traces
    Trace(trace::TraceArgs),
}

/// Kind of cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CostKind {
    Gemm,
    Attention,
    AttentionBackward,
    GroupedGemm,
    Elementwise,
    Collective,
    AllToAll,
}

impl CostKind {
    fn name(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Attention => "attention",
            Self::AttentionBackward => "attention-backward",
            Self::GroupedGemm => "grouped-gemm",
            Self::Elementwise => "elementwise",
            Self::Collective => "collective",
            Self::AllToAll => "all-to-all",
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &CalibrateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(CalibrateCommand::Check(check)) => check::run(check, context),
        Some(CalibrateCommand::Machine(machine)) => machine::run(machine, context),
        Some(CalibrateCommand::Runs(runs)) => runs::run(runs, context),
        Some(CalibrateCommand::Trace(trace)) => trace::run(trace, context),
        None => learn::run(&args.learn, context),
    }
}

/// A fault of a table is a fault of an input.
fn refused(fault: &Fault) -> Problems {
    Problem::new("", fault.to_string()).into()
}

/// Reads tables, packed or not.
pub(super) fn read_tables(files: &[PathBuf]) -> anyhow::Result<Vec<Table>> {
    files.iter().map(|path| read_table(path)).collect()
}

fn read_table(path: &Path) -> anyhow::Result<Table> {
    let wrong = |why: String| {
        anyhow::Error::from(Problems::from(Problem::new("", format!("{}: {why}", path.display()))))
    };
    let file = match File::open(path) {
        Ok(_) if path.is_dir() => return Err(wrong("it is a folder; wants a CSV file".to_owned())),
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong("no such file".to_owned()));
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let text: Box<dyn Read> =
        if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let name = path
        .file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    Table::read(&name, text.take(MOST_BYTES)).map_err(|fault| refused(&fault).into())
}

/// All GPUs that are known.
fn hardware(context: &Context) -> anyhow::Result<Hardware> {
    let names = context.sources.names(Kind::Gpu);
    let load = |name: String| {
        let gpu = load_part::<Gpu>(&context.sources, Kind::Gpu, &name)?;
        Ok::<_, Problems>((name, gpu))
    };
    let gpus = names.into_iter().map(load).collect::<Result<Vec<_>, _>>();
    Ok(Hardware::new(gpus.context("GPU files cannot be read")?))
}

/// All fits that are known.
fn fits(context: &Context) -> Result<Vec<Fit>, Problems> {
    let names = context.sources.names(Kind::Fit);
    names.iter().map(|name| load_part::<Fit>(&context.sources, Kind::Fit, name)).collect()
}

/// Tells of rows that were left out.
fn tell(faults: &[Fault], context: &Context) {
    // Rows with the same fault are told together, by the first of them.
    let mut alike: Vec<(&Fault, usize)> = Vec::new();
    for fault in faults {
        let is_same = |known: &&Fault| known.table == fault.table && known.message == fault.message;
        match alike.iter_mut().find(|(known, _)| is_same(known)) {
            Some((_, count)) => *count += 1,
            None => alike.push((fault, 1)),
        }
    }
    for (fault, count) in alike.iter().take(FAULTS_NAMED) {
        let more =
            if *count > 1 { format!(" (and {} more rows)", count - 1) } else { String::new() };
        diagnostics::note(context, "left out", &format!("{fault}{more}"));
    }
    let untold: usize = alike.iter().skip(FAULTS_NAMED).map(|(_, count)| count).sum();
    if untold > 0 {
        diagnostics::note(context, "left out", &format!("{untold} more rows for other reasons"));
    }
}
