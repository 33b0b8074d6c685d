//! Values that are no valid JSON: where they end, and what can be made of them.

use serde::de::IgnoredAny;

use super::window::Window;

/// Follows braces and quotes.
#[derive(Default)]
struct Scanner {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl Scanner {
    /// Takes a byte; whether the value ended before it, or with it.
    fn take(&mut self, byte: u8) -> Option<End> {
        if self.in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                // No text goes over a line's end: a quote is missing, or one is too many.
                b'"' | b'\n' => {
                    self.in_text = false;
                    return (self.depth == 0).then_some(End::With);
                }
                _ => {}
            }
            return None;
        }
        match byte {
            b'"' => (self.in_text, self.has_begun) = (true, true),
            b'{' | b'[' => (self.depth, self.has_begun) = (self.depth + 1, true),
            b'}' | b']' if self.depth == 0 => return Some(End::Before),
            b'}' | b']' => {
                self.depth -= 1;
                return (self.depth == 0).then_some(End::With);
            }
            b',' if self.depth == 0 => return Some(End::Before),
            _ if byte.is_ascii_whitespace() => {
                return (self.depth == 0 && self.has_begun).then_some(End::Before);
            }
            _ => self.has_begun = true,
        }
        None
    }
}

enum End {
    Before,
    With,
}

/// Length of the value at the beginning, by braces and quotes; `None` where it does not end.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut scanner = Scanner::default();
    bytes.iter().enumerate().find_map(|(index, &byte)| match scanner.take(byte)? {
        End::Before => Some(index),
        End::With => Some(index + 1),
    })
}

/// Goes past a value of any length; false where the file ends in it.
pub(super) fn skip(window: &mut Window<'_>) -> bool {
    let mut scanner = Scanner::default();
    loop {
        let mut taken = None;
        for (index, &byte) in window.rest().iter().enumerate() {
            match scanner.take(byte) {
                None => {}
                Some(End::Before) => taken = Some(index),
                Some(End::With) => taken = Some(index + 1),
            }
            if taken.is_some() {
                break;
            }
        }
        let length = window.rest().len();
        window.consume(taken.unwrap_or(length));
        if taken.is_some() {
            return true;
        }
        if !window.more() {
            return false;
        }
    }
}

/// Where the next event may begin, after the first byte: an object behind another.
pub(super) fn next_object(bytes: &[u8]) -> Option<usize> {
    let blanks =
        |from: usize| bytes[from..].iter().take_while(|it| it.is_ascii_whitespace()).count();
    let closes = bytes.iter().enumerate().skip(1).filter(|&(_, &byte)| byte == b'}');
    closes.map(|(index, _)| index + 1).find_map(|after| {
        let comma = after + blanks(after);
        if bytes.get(comma) != Some(&b',') {
            return None;
        }
        let open = comma + 1 + blanks(comma + 1);
        (bytes.get(open) == Some(&b'{')).then_some(open)
    })
}

/// The same value with what JSON has no words for (`NaN`, `inf`, `-nan(ind)`) as `null`, and with
/// backslashes, control characters and bytes that no text may have made harmless.
pub(super) fn repaired(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let length = match byte {
            b'"' => text_to(&mut out, &bytes[at..]),
            b',' => {
                let blanks = bytes[at + 1..].iter().take_while(|it| it.is_ascii_whitespace());
                let next = bytes.get(at + 1 + blanks.count());
                let is_last = matches!(next, Some(b'}' | b']' | b','));
                out.extend((!is_last).then_some(b','));
                1
            }
            _ if is_bare(byte) => word_to(&mut out, &bytes[at..]),
            _ => {
                out.push(byte);
                1
            }
        };
        at += length;
    }
    out
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'#' | b'(' | b')' | b'_')
}

/// Copies a text; gives its length in the input.
fn text_to(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    out.push(b'"');
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                out.push(b'"');
                return at;
            }
            b'\\' => match bytes.get(at..) {
                Some([next @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), ..]) => {
                    out.extend([b'\\', *next]);
                    at += 1;
                }
                Some([b'u', digits @ ..]) if is_character(digits) => out.push(b'\\'),
                _ => out.extend(b"\\\\"),
            },
            0..0x20 => out.push(b' '),
            _ => out.push(byte),
        }
    }
    at
}

/// Whether four hexadecimal digits of one character follow, and not of a half.
fn is_character(digits: &[u8]) -> bool {
    let digits = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    let code = digits.filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    code.and_then(char::from_u32).is_some()
}

/// Copies a number or a word of JSON, and `null` for any other; gives its length in the input.
fn word_to(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let length = bytes.iter().take_while(|&&byte| is_bare(byte)).count();
    let word = &bytes[..length];
    let is_valid = serde_json::from_slice::<IgnoredAny>(word).is_ok();
    out.extend(if is_valid { word } else { b"null" });
    length
}
