//! Files of traces to recordings, in parallel.

use anyhow::Context as _;
use clap::Args;
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use stepcast::spec::{Problem, Problems};
use stepcast::trace::{self, Classes, Options, Recording, TraceError};

use crate::cli::{Context, data, diagnostics, progress};

/// Recorded traces, and how their kernels are told apart.
#[derive(Clone, Debug, Args)]
pub(crate) struct TraceFiles {
    /// Recorded traces, one a rank: PyTorch profiler (Kineto) JSON, Nsight Systems .sqlite; may be
    /// compressed by gzip
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// A table of kernel names of your own, in front of the one that ships
    #[arg(long, value_name = "FILE")]
    pub(crate) kernels: Option<PathBuf>,
}

/// What of a trace is kept beside device work and calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Operators, annotations and Python functions.
    pub(crate) frames: bool,
    /// Shapes of operators; only with frames.
    pub(crate) shapes: bool,
}

impl TraceFiles {
    /// Reads all of them, in the order in which they were named; all that cannot be read are told
    /// together.
    pub(crate) fn open(&self, keep: Keep, context: &Context) -> anyhow::Result<Vec<Recording>> {
        let classes = self.classes()?;
        let options = Options { classes: &classes, frames: keep.frames, shapes: keep.shapes };
        let bar = progress::progress(Some(self.files.len()), "reading", context);
        let read: Vec<_> = self
            .files
            .par_iter()
            .map(|path| {
                let recording = read(path, &options);
                bar.inc(1);
                recording
            })
            .collect();
        bar.finish_and_clear();
        let mut recordings = Vec::new();
        let mut problems = Vec::new();
        for found in read {
            match found {
                Ok(recording) => recordings.push(recording),
                Err(problem) => problems.push(problem),
            }
        }
        Problems::check(problems)?;
        Ok(recordings)
    }

    /// Reads all of them as ranks of one job, on one clock.
    pub(crate) fn open_job(&self, keep: Keep, context: &Context) -> anyhow::Result<Recording> {
        let recordings = self.open(keep, context)?;
        for (path, recording) in self.files.iter().zip(&recordings) {
            for what in &recording.partial {
                let what = format!("{}: {what}; the answer is partial", path.display());
                diagnostics::warn(context, &what);
            }
        }
        let joined = trace::join(recordings).map_err(|error| Problem::new("", error.to_string()));
        Ok(joined.map_err(Problems::from)?.recording)
    }

    /// What kernels are.
    fn classes(&self) -> Result<Classes, Problems> {
        let Some(path) = &self.kernels else { return Ok(Classes::shipped()) };
        let name = path.display().to_string();
        let text = data::read(path).map_err(|why| Problem::new("", format!("{name}: {why}")))?;
        Ok(Classes::with(&name, &text)?)
    }
}

/// One file, of whichever format its head says it is.
fn read(path: &Path, options: &Options<'_>) -> Result<Recording, Problem> {
    let name = path.display().to_string();
    let refused = |error: TraceError| Problem::new("", error.to_string());
    let wrong = |why: String| Problem::new("", format!("{name}: {why}"));
    let file = File::open(path).map_err(|error| {
        wrong(match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            _ => error.to_string(),
        })
    })?;
    if path.is_dir() {
        return Err(wrong("it is a folder, expected a trace".to_owned()));
    }
    let file = BufReader::with_capacity(1 << 18, file);
    let mut opened = trace::open(&name, file).map_err(refused)?;
    if !opened.format.needs_path() {
        return opened.read(None, options).map_err(refused);
    }
    if !opened.is_packed {
        return opened.read(Some(path), options).map_err(refused);
    }
    let unpacked = unpack(&mut opened.bytes).map_err(|error| wrong(format!("{error:#}")))?;
    opened.read(Some(unpacked.path()), options).map_err(refused)
}

/// A temporary file with the bytes, gone when dropped.
fn unpack(bytes: &mut dyn Read) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix("stepcast-")
        .tempfile()
        .context("cannot make a temporary file to unpack into")?;
    io::copy(bytes, &mut file).context("cannot be unpacked as gzip")?;
    Ok(file)
}
