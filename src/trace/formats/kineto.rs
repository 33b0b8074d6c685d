//! JSON of the PyTorch profiler (Kineto), and of Chrome's trace viewer, whose events it uses.
//!
//! Format: "Trace Event Format" (Chromium project), `libkineto/src/output_json.cpp`
//! (pytorch/kineto). The file is read through a window; of each event only what is kept is made.

mod announced;
mod arguments;
mod category;
mod damage;
mod decimal;
mod event;
mod intake;
mod properties;
mod scalar;
mod shapes;
#[cfg(test)]
mod tests;
mod window;

use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny};
use serde_json::{Deserializer, Value};

use super::{Input, Options, TraceFormat};
use crate::trace::{Recording, TraceError};
use event::EventSeed;
use intake::Intake;
use window::Window;

/// Bytes of the file in memory, unless an event is longer.
const WINDOW_BYTES: usize = 1 << 20;
/// So many events without an end are no accident.
const ENDLESS_MAX: u32 = 100;
/// A mark of some editors at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// PyTorch profiler and Chrome traces.
#[derive(Debug)]
pub(super) struct Kineto;

impl TraceFormat for Kineto {
    fn name(&self) -> &'static str {
        "JSON of the PyTorch profiler"
    }

    fn recognizes(&self, head: &[u8]) -> bool {
        let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
        let after = |text: &[u8]| text[1..].trim_ascii_start().first().copied();
        match text.first() {
            Some(b'{') => matches!(after(text), Some(b'"' | b'}') | None),
            Some(b'[') => matches!(after(text), Some(b'{' | b']') | None),
            _ => false,
        }
    }

    fn read(&self, input: Input<'_>, options: &Options<'_>) -> Result<Recording, TraceError> {
        read_through(input, options, WINDOW_BYTES)
    }
}

/// Reads a file through a window of so many bytes at first.
fn read_through(
    input: Input<'_>,
    options: &Options<'_>,
    window_bytes: usize,
) -> Result<Recording, TraceError> {
    let mut reader = Reader {
        file: input.name,
        window: Window::new(input.bytes, window_bytes),
        seed: EventSeed { frames: options.frames, shapes: options.shapes },
        intake: Intake::new(input.name, options),
        has_events: false,
        endless_count: 0,
        cut_off: None,
    };
    reader.document()?;
    reader.finish()
}

struct Reader<'a> {
    file: &'a str,
    window: Window<'a>,
    seed: EventSeed,
    intake: Intake<'a>,
    /// Whether the list of events was found.
    has_events: bool,
    endless_count: u32,
    /// Where the file ends before it should, or where reading it was given up.
    cut_off: Option<(u64, String)>,
}

impl Reader<'_> {
    fn error(&self, offset: u64, what: String) -> TraceError {
        TraceError { file: self.file.to_owned(), offset: Some(offset), what }
    }

    fn cut_off(&mut self, what: &str) {
        let offset = self.window.offset();
        self.cut_off.get_or_insert_with(|| (offset, what.to_owned()));
    }

    fn document(&mut self) -> Result<(), TraceError> {
        if self.window.rest().starts_with(BYTE_ORDER_MARK) {
            self.window.consume(BYTE_ORDER_MARK.len());
        }
        match self.window.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => {
                self.window.consume(1);
                // Chrome's list of events may do without its end.
                self.events(false);
                Ok(())
            }
            _ => {
                let what = "expected `{` or `[` of a JSON trace".to_owned();
                Err(self.error(self.window.offset(), what))
            }
        }
    }

    /// The outer object.
    fn object(&mut self) -> Result<(), TraceError> {
        self.window.consume(1);
        loop {
            match self.window.peek() {
                Some(b'}') => return Ok(()),
                Some(b',') => self.window.consume(1),
                Some(b'"') => {
                    let at = self.window.offset();
                    let Some(key) = self.value::<String>() else { continue };
                    if self.window.peek() != Some(b':') {
                        self.cut_off(&format!("expected `:` after the key `{key}`"));
                        return Ok(());
                    }
                    self.window.consume(1);
                    self.entry(&key, at)?;
                }
                Some(_) => {
                    self.cut_off("expected a key in quotes");
                    return Ok(());
                }
                None => {
                    self.cut_off("the file ends inside of its outer object");
                    return Ok(());
                }
            }
            if self.cut_off.is_some() {
                return Ok(());
            }
        }
    }

    /// The value of a key of the outer object that begins at a place in the file.
    fn entry(&mut self, key: &str, at: u64) -> Result<(), TraceError> {
        match key {
            "traceEvents" => match self.window.peek() {
                Some(b'[') => {
                    self.window.consume(1);
                    self.events(true);
                }
                Some(_) => {
                    let what = "`traceEvents` is no list, expected `[` and events".to_owned();
                    return Err(self.error(self.window.offset(), what));
                }
                None => self.cut_off("the file ends before its events"),
            },
            "nodes" if !self.has_events => {
                let what = "`nodes` of a PyTorch execution trace, which says nothing about the \
                            GPU: expected `traceEvents`, from the profiler's export_chrome_trace";
                return Err(self.error(at, what.to_owned()));
            }
            "deviceProperties" => {
                let devices = self.value::<Value>();
                properties::devices(devices.as_ref(), &mut self.intake.builder);
            }
            "distributedInfo" => {
                let job = self.value::<Value>();
                properties::job(job.as_ref(), &mut self.intake.builder);
            }
            "ranks" => {
                let ranks = self.value::<Value>();
                properties::ranks(ranks.as_ref(), &mut self.intake.builder);
            }
            "baseTimeNanoseconds" => {
                let base = self.value::<Value>();
                if let Some(base_ns) = base.as_ref().and_then(properties::integer) {
                    self.intake.builder.clock_base(base_ns);
                }
            }
            _ => {
                self.window.peek();
                self.skip();
            }
        }
        Ok(())
    }

    /// A value of the outer object; `None`, and past it, where it is not as expected.
    fn value<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.window.peek();
        loop {
            let rest = self.window.rest();
            let mut json = Deserializer::from_slice(rest);
            let result = T::deserialize(&mut json);
            let length = json.into_iter::<IgnoredAny>().byte_offset();
            match result {
                // A number at the end of the window may go on.
                Ok(value) if length < rest.len() || !self.window.more() => {
                    self.window.consume(length);
                    return Some(value);
                }
                Ok(_) => {}
                Err(error) if error.is_eof() && self.window.more() => {}
                Err(_) => {
                    self.skip();
                    return None;
                }
            }
        }
    }

    fn skip(&mut self) {
        let at = self.window.offset();
        if !damage::skip(&mut self.window) {
            self.cut_off("the file ends inside of a value");
        } else if self.window.offset() == at {
            self.window.consume(1);
        }
    }

    /// The list of events.
    fn events(&mut self, must_end: bool) {
        self.has_events = true;
        while self.cut_off.is_none() {
            match self.window.peek() {
                Some(b'{') => {
                    self.intake.met_count += 1;
                    self.event();
                }
                Some(b',') => self.window.consume(1),
                Some(b']') => return self.window.consume(1),
                Some(_) => {
                    self.intake.met_count += 1;
                    self.intake.leave_out(self.window.offset(), "no event, expected `{`");
                    self.skip();
                }
                None if must_end => self.cut_off("the file ends inside of its list of events"),
                None => return,
            }
        }
    }

    /// One event.
    fn event(&mut self) {
        loop {
            let rest = self.window.rest();
            let mut json = Deserializer::from_slice(rest);
            let result = self.seed.deserialize(&mut json);
            let length = json.into_iter::<IgnoredAny>().byte_offset();
            let error = match result {
                Ok(event) => {
                    self.intake.take(&event, self.window.offset());
                    return self.window.consume(length);
                }
                Err(error) => error,
            };
            if !(error.is_eof() && self.window.more()) {
                return self.damaged(&error);
            }
        }
    }

    /// An event that is no valid JSON: taken if it can be repaired, else left out.
    fn damaged(&mut self, error: &serde_json::Error) {
        let offset = self.window.offset();
        let mut length = damage::length(self.window.rest());
        while length.is_none() && self.window.more() {
            length = damage::length(self.window.rest());
        }
        if let Some(length) = length {
            let repaired = damage::repaired(&self.window.rest()[..length]);
            let mut json = Deserializer::from_slice(&repaired);
            match self.seed.deserialize(&mut json) {
                Ok(event) => self.intake.take(&event, offset),
                Err(_) => self.intake.leave_out(offset, why(error)),
            }
            return self.window.consume(length);
        }
        self.endless_count += 1;
        match damage::next_object(self.window.rest()) {
            Some(next) if self.endless_count < ENDLESS_MAX => {
                self.intake.leave_out(offset, why(error));
                self.window.consume(next);
            }
            _ if self.window.is_at_end() => self.cut_off("the file ends inside of an event"),
            _ => self.cut_off("an event without an end, too long to go on behind it"),
        }
    }

    /// The recording, or why there is none.
    fn finish(mut self) -> Result<Recording, TraceError> {
        let end = self.window.offset() + self.window.rest().len() as u64;
        let broken = self
            .window
            .broken()
            .map(|why| format!("the file is damaged or cut off after {end} unpacked bytes: {why}"));
        let expected = "expected `traceEvents`, a list of events";
        if !self.has_events {
            let (offset, what) = match (self.cut_off.take(), broken) {
                (_, Some(broken)) => (end, broken),
                (Some((offset, what)), None) => (offset, what),
                (None, None) => (self.window.offset(), "no events".to_owned()),
            };
            return Err(self.error(offset, format!("{what}; {expected}")));
        }
        if self.intake.event_count == 0
            && let Some((offset, why)) = self.intake.first_left_out().cloned()
        {
            return Err(self.error(offset, format!("no event could be read: {why}")));
        }
        if let Some((offset, what)) = self.cut_off.take() {
            let what = format!("at byte {offset} {what}: only what comes before was read");
            self.intake.builder.partial(what);
        }
        if let Some(broken) = broken {
            self.intake.builder.partial(broken);
        }
        Ok(self.intake.finish().finish())
    }
}

/// What was wrong, without the line that counts from the event.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
