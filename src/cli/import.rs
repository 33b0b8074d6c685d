//! `stepcast import`.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::spec::{Imported, Problem, Problems, import_hugging_face};

use super::{Context, data, diagnostics, output};

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// A Hugging Face config.json as a model file
    Hf {
        /// The config.json
        config: PathBuf,
        /// File to write; stdout when absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Name of the model; that of the output file, else of the folder of the config.json
        #[arg(long)]
        name: Option<String>,
    },
}

/// Reads, converts, says what had no use.
pub(crate) fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let Source::Hf { config, out, name } = &args.source;
    let wrong = |message: String| Problems::from(Problem::new("", message));
    let text = data::read(config)
        .map_err(|error| wrong(format!("cannot read {}: {error}", config.display())))?;
    let name = name.clone().unwrap_or_else(|| default_name(config, out.as_deref()));
    let file_name = config.file_name().unwrap_or_default().to_string_lossy();
    let origin = format!("Hugging Face {file_name} of {name}");
    let imported = import_hugging_face(&text, &name, &origin)
        .map_err(|error| wrong(format!("{}: {error}", config.display())))?;
    let toml = imported.to_toml().map_err(|error| anyhow!("cannot write TOML: {error}"))?;
    tell(&imported, context);
    match out {
        Some(path) => output::write_file(path, |writer| writer.write_all(toml.as_bytes()))?,
        None => output::print(&toml)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(imported: &Imported, context: &Context) {
    for sentence in &imported.assumed {
        diagnostics::note(context, "assumed", sentence);
    }
    if !imported.unused.is_empty() {
        diagnostics::note(context, "not used", &imported.unused.join(", "));
    }
    let billions = imported.model.parameters() / 1e9;
    let sentence = format!("{billions:.3} billion; compare it with what the authors publish");
    diagnostics::note(context, "parameters", &sentence);
}

/// The name of the output file, else of the folder that the configuration lies in.
fn default_name(config: &Path, out: Option<&Path>) -> String {
    let stem = out.and_then(Path::file_stem);
    let folder = || config.parent().and_then(Path::file_name);
    let name = stem.or_else(folder).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "imported".to_owned())
}
