//! Files of traces to recordings.

use anyhow::Context as _;
use clap::Args;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use stepcast::spec::{Problem, Problems};
use stepcast::trace::{Classes, Input, Options, Recording, TraceError, sniff};

use crate::cli::data;

/// Unpacked bytes by which a format is told.
const HEAD_BYTES: u64 = 4096;

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
    /// Reads all of them, in the order in which they were named.
    pub(crate) fn open(&self, keep: Keep) -> anyhow::Result<Vec<Recording>> {
        let classes = self.classes()?;
        self.files.iter().map(|path| read(path, &classes, keep)).collect()
    }

    /// What kernels are.
    fn classes(&self) -> Result<Classes, Problems> {
        let Some(path) = &self.kernels else { return Ok(Classes::shipped()) };
        let name = path.display().to_string();
        let text = data::read(path).map_err(|why| Problem::new("", format!("{name}: {why}")))?;
        Ok(Classes::with(&name, &text)?)
    }
}

fn read(path: &Path, classes: &Classes, keep: Keep) -> anyhow::Result<Recording> {
    let name = path.display().to_string();
    let mut file = File::open(path).with_context(|| name.clone())?;
    let mut start = Vec::new();
    Read::by_ref(&mut file).take(2).read_to_end(&mut start).with_context(|| name.clone())?;
    let is_packed = start == [0x1f, 0x8b];
    let raw = BufReader::with_capacity(1 << 18, Cursor::new(start).chain(file));
    let mut bytes: Box<dyn Read> =
        if is_packed { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    let mut head = Vec::new();
    (&mut bytes).take(HEAD_BYTES).read_to_end(&mut head).with_context(|| name.clone())?;
    let Some(format) = sniff(&head) else {
        let what = "not a trace of a known format; there are PyTorch profiler JSON and Nsight \
                    Systems .sqlite";
        return Err(TraceError { file: name, offset: None, what: what.to_owned() }.into());
    };
    let mut bytes = Cursor::new(head).chain(bytes);
    let input = Input { name: &name, bytes: &mut bytes, path: (!is_packed).then_some(path) };
    let options = Options { classes, frames: keep.frames, shapes: keep.shapes };
    Ok(format.read(input, &options)?)
}
