//! `stepcast trace summarize`: where the time of each rank went.

use clap::Args;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::analysis::{KnownCollective, ProfileOptions, profile};
use stepcast::report::trace::{self, Measured};
use stepcast::spec::{Problem, Problems};
use stepcast::trace::{Recording, join};

use super::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, diagnostics, output, simulate, style};

/// Arguments of `trace summarize`.
#[derive(Debug, Args)]
pub(crate) struct SummarizeArgs {
    #[command(flatten)]
    files: TraceFiles,
    /// Name the kernels that take most time
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Also write the timeline, all ranks on one clock, for ui.perfetto.dev; compressed when it
    /// ends in .gz
    #[arg(long, value_name = "OUT")]
    trace: Option<PathBuf>,
}

/// Summarises and prints.
pub(crate) fn run(args: &SummarizeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let keep = Keep { frames: true, shapes: false };
    let recordings = together(args.files.open(keep, context)?, context)?;
    if let Some(path) = &args.trace {
        match recordings.as_slice() {
            [recording] => simulate::write_trace(path, &recording.timeline)?,
            _ => {
                let what = "--trace wants ranks of one job, and these are several jobs";
                return Err(Problems::from(Problem::new("", what)).into());
            }
        }
    }
    let measured: Vec<Measured> = recordings.iter().map(|one| measure(one, args.top)).collect();
    let mut text = Vec::new();
    match context.format {
        Format::Text => trace::write_text(&measured, args.top, style::of(context), &mut text)?,
        Format::Json => trace::write_json(&measured, &mut text)?,
        Format::Csv => trace::write_csv(&measured, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Ranks of one job as one recording; files that are the same rank are several jobs and stay apart.
fn together(recordings: Vec<Recording>, context: &Context) -> anyhow::Result<Vec<Recording>> {
    let sources = || recordings.iter().flat_map(|recording| &recording.sources);
    let mut ranks = BTreeSet::new();
    let twice = sources().filter_map(|source| source.rank).find(|rank| !ranks.insert(*rank));
    if let Some(rank) = twice {
        let what = format!("several files say that they are rank {rank}, so they are not joined");
        diagnostics::warn(context, &what);
        return Ok(recordings);
    }
    match sources().count() {
        1 => Ok(recordings),
        _ => Ok(vec![join(recordings)?.recording]),
    }
}

fn measure(recording: &Recording, kernels: usize) -> Measured<'_> {
    let communications = recording.communications.iter();
    let known = communications.map(|said| KnownCollective {
        span: said.span,
        kind: said.kind,
        dtype: said.dtype,
        group_size: said.group_size,
    });
    let options = ProfileOptions {
        kernels,
        communication: known.collect(),
        world_size: recording.sources.iter().find_map(|source| source.world_size),
    };
    let profile = profile(&recording.timeline, &options);
    Measured { recording, profile }
}
