//! `stepcast simulate`: a scenario in, a predicted step out.

use clap::{Args, ValueEnum};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::report::{self, Subject};
use stepcast::spec::{load, warnings};
use stepcast::timeline::Timeline;

use super::input::{ScenarioArgs, parse_overrides};
use super::{Context, Format, output, style};

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    input: ScenarioArgs,
    /// Also write a timeline that ui.perfetto.dev opens; compressed when it ends in .gz
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// What is simulated one by one [default: folded, with --trace kernels]
    #[arg(long, value_enum)]
    detail: Option<Detail>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Detail {
    /// One rank a stage, repeating stretches once
    Folded,
    /// One rank a stage, every kernel
    Kernels,
    /// Every rank, every kernel
    Unfolded,
}

/// Simulates and prints; fails, with the report still printed, when the plan does not fit.
pub(crate) fn run(args: &SimulateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let overrides = parse_overrides(&args.input.overrides)?;
    let scenario = load(&context.sources, &args.input.scenario, &overrides)?;
    let detail = match (args.detail, &args.trace) {
        (Some(Detail::Folded), _) | (None, None) => stepcast::Detail::Folded,
        (Some(Detail::Kernels), _) | (None, Some(_)) => stepcast::Detail::Kernels,
        (Some(Detail::Unfolded), _) => stepcast::Detail::Unfolded,
    };
    let prediction = stepcast::simulate(&scenario, detail)?;
    let (mut summary, timeline) = (prediction.summary, prediction.timeline);
    for warning in warnings(&scenario) {
        if !summary.warnings.contains(&warning) {
            summary.warnings.push(warning);
        }
    }
    if let Some(path) = &args.trace {
        write_trace(path, &timeline)?;
    }
    let name = match context.format {
        Format::Text => "text",
        Format::Json => "json",
        Format::Csv => "csv",
    };
    let Some(report) = report::report(name) else { unreachable!("{name} is a report") };
    let subject = Subject { scenario: &scenario, summary: &summary, timeline: &timeline };
    let mut text = Vec::new();
    report.write(&subject, style::of(context), &mut text)?;
    output::print(&String::from_utf8(text)?)?;
    Ok(if summary.memory.fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn write_trace(path: &Path, timeline: &Timeline) -> anyhow::Result<()> {
    output::write_file(path, |out| {
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            // Small writes of the trace are gathered before they are compressed.
            let mut buffer = std::io::BufWriter::new(&mut encoder);
            report::write_trace(timeline, &mut buffer)?;
            buffer.flush()?;
            drop(buffer);
            encoder.finish().map(|_| ())
        } else {
            report::write_trace(timeline, out)
        }
    })
}
