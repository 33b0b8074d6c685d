//! Formats of traces, found by the head of the file.

mod nsight;

use std::io::Read;
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
pub static FORMATS: [&dyn TraceFormat; 1] = [&nsight::Nsight];

/// The format of a file that begins like this.
pub fn sniff(head: &[u8]) -> Option<&'static dyn TraceFormat> {
    FORMATS.into_iter().find(|format| format.recognizes(head))
}
