//! Trace files on disk: unpacked, told apart by their heads, read in parallel.
#![allow(dead_code, reason = "the subcommands of `trace` are its callers")]

use anyhow::Context as _;
use clap::Args;
use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use stepcast::spec::{Problem, Problems};
use stepcast::trace::{Classes, FORMATS, Input, Options, Recording, TraceError, sniff};

use crate::cli::{Context, data, progress};

/// How much of a file tells its format.
const HEAD_BYTES: u64 = 4096;

/// Traces, and how their kernels are told apart.
#[derive(Clone, Debug, Args)]
pub(crate) struct TraceFiles {
    /// Traces: PyTorch profiler (`.json`) or Nsight Systems (`.sqlite`), packed by gzip or not
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Table of kernel names of your own, in front of the one that ships
    #[arg(long, value_name = "TOML")]
    pub(crate) kernels: Option<PathBuf>,
}

/// What is kept of a trace beside its device work and calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Operators, annotations and Python functions.
    pub(crate) frames: bool,
    /// Shapes of operators.
    pub(crate) shapes: bool,
}

impl TraceFiles {
    /// Reads all files, in their order; all that cannot be read are told together.
    pub(crate) fn read(&self, keep: Keep, context: &Context) -> anyhow::Result<Vec<Recording>> {
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

    fn classes(&self) -> anyhow::Result<Classes> {
        let Some(path) = &self.kernels else { return Ok(Classes::shipped()) };
        let file = path.display().to_string();
        let text = data::read(path)
            .map_err(|why| Problems::from(Problem::new("", format!("--kernels {file}: {why}"))))?;
        Ok(Classes::with(&file, &text).map_err(Problems::from)?)
    }
}

/// One file, of whichever format its head says it is.
fn read(path: &Path, options: &Options<'_>) -> Result<Recording, Problem> {
    let name = path.display().to_string();
    let refused = |error: TraceError| Problem::new("", error.to_string());
    let wrong = |why: String| Problem::new("", format!("{name}: {why}"));
    let (mut bytes, is_packed) = open(path).map_err(|error| wrong(what(&error)))?;
    let mut head = Vec::new();
    // What ends inside of its head is for the format to judge.
    let broken = (&mut bytes).take(HEAD_BYTES).read_to_end(&mut head).err();
    let Some(format) = sniff(&head) else {
        return Err(wrong(broken.map_or_else(|| unknown(&head), |error| what(&error))));
    };
    let rest: Box<dyn Read> = match broken {
        Some(error) => Box::new(Broken(Some(error))),
        None => bytes,
    };
    let mut bytes = head.as_slice().chain(rest);
    if !format.needs_path() {
        return format
            .read(Input { name: &name, bytes: &mut bytes, path: None }, options)
            .map_err(refused);
    }
    let unpacked = match is_packed {
        true => Some(unpack(&mut bytes).map_err(|error| wrong(format!("{error:#}")))?),
        false => None,
    };
    let path = unpacked.as_ref().map_or(path, tempfile::NamedTempFile::path);
    format
        .read(Input { name: &name, bytes: &mut io::empty(), path: Some(path) }, options)
        .map_err(refused)
}

/// The (unpacked) bytes of a file, and whether they were packed.
fn open(path: &Path) -> io::Result<(Box<dyn Read>, bool)> {
    let mut magic = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut magic)?;
    let file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let is_packed = magic == [0x1f, 0x8b];
    Ok((if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }, is_packed))
}

/// A temporary file with the bytes, gone when dropped.
fn unpack(bytes: &mut dyn Read) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix("stepcast-")
        .tempfile()
        .context("cannot make a temporary file to unpack into")?;
    io::copy(bytes, &mut file).context("cannot be unpacked")?;
    Ok(file)
}

fn what(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder; wants a trace".to_owned(),
        _ => error.to_string(),
    }
}

/// What a file begins with that no format knows.
fn unknown(head: &[u8]) -> String {
    if head.is_empty() {
        return "it is empty; wants a trace".to_owned();
    }
    let formats: Vec<&str> = FORMATS.into_iter().map(|format| format.name()).collect();
    let start = String::from_utf8_lossy(&head[..head.len().min(16)]);
    let hint = "(reports of Nsight Systems: `nsys export --type sqlite`)";
    format!("begins with `{}`; wants {} {hint}", start.escape_debug(), formats.join(" or "))
}

/// A reader that has failed.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
