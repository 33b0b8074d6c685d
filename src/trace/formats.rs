//! Formats of traces, found by the head of the file.

mod frames;
mod kineto;
mod nsight;

use flate2::read::MultiGzDecoder;
use std::io::{Cursor, Read};
use std::path::Path;

use super::{Classes, Recording, TraceError};

/// Where the (unpacked) bytes of a trace are.
#[allow(missing_debug_implementations)]
pub struct Input<'a> {
    /// Name of the file, for messages and reports.
    pub name: &'a str,
    /// The bytes, from the first one on.
    pub bytes: &'a mut dyn Read,
    /// Where they lie on disk unpacked, for formats that do not read from front to back.
    pub path: Option<&'a Path>,
}

/// How a trace is read.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What kernels are.
    pub classes: &'a Classes,
    /// Whether operators, annotations and Python functions are kept; marked steps always are.
    pub frames: bool,
    /// Whether shapes of operators are kept; only with frames.
    pub shapes: bool,
}

/// A format of traces.
pub trait TraceFormat: Sync {
    /// Name in messages.
    fn name(&self) -> &'static str;

    /// Whether a file of this format begins like this (up to a few thousand unpacked bytes).
    fn recognizes(&self, head: &[u8]) -> bool;

    /// Whether it needs [`Input::path`].
    fn needs_path(&self) -> bool {
        false
    }

    /// Reads a trace. What can be read of a file that is cut off is a recording that says so.
    ///
    /// # Errors
    ///
    /// When nothing can be read: where in the file, what was found and what was expected.
    fn read(&self, input: Input<'_>, options: &Options<'_>) -> Result<Recording, TraceError>;
}

/// All of them.
pub static FORMATS: &[&dyn TraceFormat] = &[
    &kineto::Kineto, // PyTorch profiler
    &nsight::Nsight, // Nsight Systems
];

/// How many unpacked bytes formats are recognized by.
const HEAD_BYTES: u64 = 4096;

/// The format of a file that begins like this.
pub fn sniff(head: &[u8]) -> Option<&'static dyn TraceFormat> {
    FORMATS.iter().copied().find(|format| format.recognizes(head))
}

/// A trace whose format is known, before it is read.
#[allow(missing_debug_implementations)]
pub struct Opened<'a> {
    /// Name of the file.
    pub name: String,
    /// Its format.
    pub format: &'static dyn TraceFormat,
    /// Whether the file is packed, so that its path is not the path of the trace.
    pub is_packed: bool,
    /// The unpacked bytes, from the first one on.
    pub bytes: Box<dyn Read + 'a>,
}

impl Opened<'_> {
    /// Reads it; `path` is where the unpacked bytes lie, for formats that need it.
    ///
    /// # Errors
    ///
    /// When nothing can be read, or the format needs a path and there is none.
    pub fn read(
        mut self,
        path: Option<&Path>,
        options: &Options<'_>,
    ) -> Result<Recording, TraceError> {
        if self.format.needs_path() && path.is_none() {
            let what = format!("{} is read from a file on disk, unpacked", self.format.name());
            return Err(TraceError { file: self.name, offset: None, what });
        }
        let input = Input { name: &self.name, bytes: &mut *self.bytes, path };
        self.format.read(input, options)
    }
}

/// Unpacks gzip, told by its first bytes and not by the name, and finds the format.
///
/// # Errors
///
/// When the file is empty, cannot be unpacked, or is of no format that is read.
pub fn open<'a>(name: &str, mut bytes: impl Read + 'a) -> Result<Opened<'a>, TraceError> {
    let error = |what: String| TraceError { file: name.to_owned(), offset: Some(0), what };
    let unreadable = |it: std::io::Error| error(format!("cannot be read: {it}"));
    let magic = head(&mut bytes, 2).map_err(unreadable)?;
    let is_packed = magic == [0x1f, 0x8b];
    let whole = Cursor::new(magic).chain(bytes);
    let mut bytes: Box<dyn Read + 'a> =
        if is_packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let head = head(&mut bytes, HEAD_BYTES);
    let head = head.map_err(|it| error(format!("cannot be unpacked as gzip: {it}")))?;
    let Some(format) = sniff(&head) else { return Err(error(unknown(&head))) };
    let bytes = Box::new(Cursor::new(head).chain(bytes));
    Ok(Opened { name: name.to_owned(), format, is_packed, bytes })
}

/// Up to so many bytes; fewer where the file ends, or breaks off after the first ones.
fn head(bytes: &mut dyn Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    match bytes.take(limit).read_to_end(&mut head) {
        Err(error) if head.is_empty() => Err(error),
        _ => Ok(head),
    }
}

/// Why a file that begins like this is not read.
fn unknown(head: &[u8]) -> String {
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    let formats = formats.join(", ");
    if head.is_empty() {
        return format!("the file is empty, expected a trace: {formats} (plain or gzip)");
    }
    let first: String =
        head.iter().take(16).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    format!("begins with `{first}`, which is no trace that is read: {formats} (plain or gzip)")
}
