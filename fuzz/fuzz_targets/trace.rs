//! No bytes make a reader of traces panic, hang or grow without bound.
//!
//! The first byte says what is kept and how many bytes the source gives at a time; the rest is
//! the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use std::sync::LazyLock;
use stepcast::trace::{Classes, Options, open};

mod whole;

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::shipped);

/// Gives few bytes at a time.
struct Sips<'a>(&'a [u8], usize);

impl Read for Sips<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, file)) = data.split_first() else { return };
    let options = Options { classes: &CLASSES, frames: how & 1 != 0, shapes: how & 2 != 0 };
    let source = Sips(file, 1 + usize::from(how >> 2));
    let recording = open("fuzz", source).and_then(|opened| opened.read(None, &options));
    match recording {
        Ok(recording) => whole::check(&recording),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
