//! A stretch of the file in memory, which moves on as it is read.

use std::io::{ErrorKind, Read};

/// No event is as long; what seems to be one is damage, and is not waited for.
pub(super) const LENGTH_MAX: usize = 64 << 20;

/// The bytes from a place in the file on, as many as are there by now.
pub(super) struct Window<'a> {
    source: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// What is not consumed yet of the buffer.
    start: usize,
    end: usize,
    /// Bytes of the file before the buffer.
    passed: u64,
    is_at_end: bool,
    /// Why the file ended before its time.
    broken: Option<String>,
}

impl<'a> Window<'a> {
    /// At the beginning of the bytes; it holds so many at first.
    pub(super) fn new(source: &'a mut dyn Read, capacity: usize) -> Self {
        let mut window = Self {
            source,
            buffer: vec![0; capacity.max(1)],
            start: 0,
            end: 0,
            passed: 0,
            is_at_end: false,
            broken: None,
        };
        window.fill();
        window
    }

    /// What is there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Bytes of the file before the rest.
    pub(super) fn offset(&self) -> u64 {
        self.passed + self.start as u64
    }

    /// Whether nothing comes after the rest.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// What the source said when it could not be read further.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Goes on by so many bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Brings more bytes in behind the rest; false where there are none, or the rest is longer
    /// than anything sensible.
    pub(super) fn more(&mut self) -> bool {
        if self.is_at_end || self.end - self.start >= LENGTH_MAX {
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.passed += self.start as u64;
        (self.start, self.end) = (0, self.end - self.start);
        if self.end > self.buffer.len() / 2 {
            let length = self.buffer.len() * 2;
            self.buffer.resize(length, 0);
        }
        let before = self.end;
        self.fill();
        self.end > before
    }

    fn fill(&mut self) {
        while !self.is_at_end && self.end < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.is_at_end = true,
                // A reader that claims more than it was given room for is not believed.
                Ok(count) => self.end = (self.end + count).min(self.buffer.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_at_end = true;
                    self.broken = Some(error.to_string());
                }
            }
        }
    }

    /// The next byte that is no blank, without going past it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let rest = self.rest();
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = rest.get(blank).copied();
            self.consume(blank);
            if next.is_some() || !self.more() {
                return next;
            }
        }
    }
}
