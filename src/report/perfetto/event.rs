//! One event a line, commas between them, and the text of their fields.

use std::fmt;
use std::io::{self, Write};

/// A stretch or point of time in picoseconds, shown as microseconds without rounding.
#[derive(Clone, Copy)]
pub(super) struct Microseconds(pub(super) u64);

impl fmt::Display for Microseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 {
            return write!(formatter, "{whole}");
        }
        let digits = format!("{part:06}");
        write!(formatter, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A JSON string, quotes included.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where events go.
pub(super) struct Events<'a> {
    out: &'a mut dyn Write,
    any: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, any: false }
    }

    /// Begins an event.
    pub(super) fn next(&mut self, event: fmt::Arguments<'_>) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        self.out.write_fmt(event)
    }

    /// Goes on with the event.
    pub(super) fn more(&mut self, event: fmt::Arguments<'_>) -> io::Result<()> {
        self.out.write_fmt(event)
    }

    /// A fact about a process or a thread.
    pub(super) fn metadata(
        &mut self,
        name: &str,
        pid: u32,
        tid: u32,
        arguments: fmt::Arguments<'_>,
    ) -> io::Result<()> {
        self.next(format_args!(
            r#"{{"ph":"M","name":"{name}","pid":{pid},"tid":{tid},"args":{{{arguments}}}}}"#
        ))
    }
}
