//! `stepcast calibrate trace`: recorded traces to measured tables.

use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use stepcast::calibrate::{Extract, ExtractOptions, extract};
use stepcast::report::json::write_versioned;
use stepcast::trace::join;

use crate::cli::trace::open::{Keep, TraceFiles};
use crate::cli::{Context, Format, diagnostics, output};
use stepcast::spec::{Problem, Problems};

/// Arguments of `calibrate trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    files: TraceFiles,
    /// The GPU: needed where the traces do not name it
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// Whether attention is causal, which shapes do not say; without it attention is left out
    #[arg(long, value_name = "BOOL")]
    causal: Option<bool>,
    /// Ranks on a node; without it jobs of up to 8 ranks are taken to be on one
    #[arg(long, value_name = "COUNT")]
    gpus_per_node: Option<u64>,
    /// Folder for the tables, one CSV file a kind; without it only the overview is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Reads, extracts, writes and prints.
pub(super) fn run(args: &TraceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let recordings = args.files.open(Keep { frames: true, shapes: true }, context)?;
    let joined =
        join(recordings).map_err(|error| Problems::from(Problem::new("", error.to_string())))?;
    for partial in &joined.recording.partial {
        diagnostics::warn(context, partial);
    }
    let options = ExtractOptions {
        gpu: args.gpu.clone(),
        causal: args.causal,
        gpus_per_node: args.gpus_per_node,
    };
    let found = extract(&joined.recording, &options);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| {
            Problems::from(Problem::new("", format!("--out {}: {error}", folder.display())))
        })?;
        for sheet in &found.sheets {
            let text = sheet.csv();
            output::write_file(&folder.join(sheet.file), |file| file.write_all(text.as_bytes()))?;
        }
    }
    output::print(&match context.format {
        Format::Json => {
            let mut text = Vec::new();
            write_versioned(&found, &mut text)?;
            String::from_utf8(text)?
        }
        Format::Csv => found.sheets.iter().map(|sheet| sheet.csv() + "\n").collect(),
        Format::Text => text(&found),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// For people.
fn text(found: &Extract) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |written: String| {
        let _ = writeln!(text, "{written}");
    };
    line(format!("{} of {} kernels are behind rows", found.used_count, found.kernel_count));
    for sheet in &found.sheets {
        line(format!("  {}: {} rows", sheet.file, sheet.rows.len()));
    }
    if !found.left_out.is_empty() {
        line("left out".to_owned());
    }
    for (why, count) in &found.left_out {
        line(format!("  {count} {why}"));
    }
    if let Some(launches) = &found.launches {
        let between = launches.between_us.map_or("-".to_owned(), |it| format!("{it:.1} us"));
        line(format!(
            "{} launches: {:.1} us each (a tenth below {:.1}, a tenth above {:.1}), {between} from \
             one to the next",
            launches.count, launches.call_us, launches.call_p10_us, launches.call_p90_us
        ));
    }
    for it in &found.interference {
        line(format!(
            "{} kernels take {:.3} of their time beside communication (a quarter below {:.2}, a \
             quarter above {:.2}, median of kinds {:.2}; {} kinds, {} beside, {} alone)",
            it.class,
            it.factor,
            it.factor_p25,
            it.factor_p75,
            it.kind_median,
            it.kind_count,
            it.beside_count,
            it.alone_count
        ));
        match it.factor_of_told {
            Some(factor) if it.told_count < it.beside_count => line(format!(
                "  {factor:.3} without {} that may be persistent and whose shapes are not known",
                it.beside_count - it.told_count
            )),
            None => line("  all may be persistent, and their shapes are not known".to_owned()),
            Some(_) => {}
        }
    }
    if !found.interference_left_out.is_empty() {
        line("beside communication and not compared".to_owned());
    }
    for (why, count) in &found.interference_left_out {
        line(format!("  {count} {why}"));
    }
    text
}
