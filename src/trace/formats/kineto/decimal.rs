//! Decimal microseconds to whole nanoseconds, exactly.
//!
//! A timestamp of 1.7e15 us with three decimals has more digits than a double holds.

/// Nanoseconds of a JSON number of microseconds, or of a string that holds one; to the nearest
/// nanosecond, halves away from zero. `None` for what is no number or beyond ±292 years.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let text = text.strip_prefix('"').map_or(text, |rest| rest.trim_end_matches('"')).trim();
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let magnitude = magnitude(digits)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Of digits, at most one point, and perhaps an exponent.
fn magnitude(text: &[u8]) -> Option<i64> {
    let (mut value, mut digit_count) = (0_u64, 0);
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        (digit_count, rest) = (digit_count + 1, tail);
    }
    let mut fraction: &[u8] = &[];
    if let [b'.', tail @ ..] = rest {
        let length = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (fraction, rest) = tail.split_at(length);
    }
    if digit_count + fraction.len() == 0 {
        return None;
    }
    if !rest.is_empty() {
        return with_exponent(text, rest);
    }
    let digit = |place: usize| fraction.get(place).map_or(0, |digit| u64::from(digit - b'0'));
    let below = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(digit(3) >= 5);
    i64::try_from(value.checked_mul(1000)?.checked_add(below)?).ok()
}

/// The rare form with an exponent: shifts the point and reads again.
fn with_exponent(text: &[u8], rest: &[u8]) -> Option<i64> {
    let [b'e' | b'E', exponent @ ..] = rest else { return None };
    let exponent: i32 = std::str::from_utf8(exponent).ok()?.parse().ok()?;
    let mantissa = &text[..text.len() - rest.len()];
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    if digits.iter().all(|&digit| digit == b'0') {
        return Some(0);
    }
    let point = i32::try_from(point).ok()?.checked_add(exponent)?;
    // Far beyond the range, or far below half a nanosecond whatever the digits are.
    if point > 40 + i32::try_from(digits.len()).ok()? {
        return None;
    }
    if point < -4 {
        return Some(0);
    }
    let point = if point < 0 {
        digits.splice(0..0, std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
        0
    } else {
        point as usize
    };
    while digits.len() < point {
        digits.push(b'0');
    }
    digits.insert(point, b'.');
    magnitude(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly() {
        let cases = [
            ("1740461679544732", Some(1_740_461_679_544_732_000)),
            ("1740461679544732.123", Some(1_740_461_679_544_732_123)),
            ("\"12.5\"", Some(12_500)),
            ("16.0", Some(16_000)),
            ("-5", Some(-5_000)),
            ("0.0005", Some(1)),
            ("0.0004", Some(0)),
            (".25", Some(250)),
            ("1.7e3", Some(1_700_000)),
            ("1e-3", Some(1)),
            ("5e-4", Some(1)),
            ("4.9E-4", Some(0)),
            ("1e-300", Some(0)),
            ("0e999999", Some(0)),
            ("1e30", None),
            ("9223372036854775.807", Some(i64::MAX)),
            ("9223372036854775.808", None),
            ("NaN", None),
            ("null", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("\"\"", None),
            ("1e", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_exponent_is_a_shifted_point(value in 0_i64..1_000_000_000_000, shift in 0_u32..6) {
            let plain = nanoseconds(&format!("{value}"));
            let scaled = format!("{value}e-{shift}");
            let point = format!("{value:07}");
            let point = format!("{}.{}", &point[..point.len() - shift as usize],
                &point[point.len() - shift as usize..]);
            prop_assert_eq!(plain, Some(value * 1000));
            prop_assert_eq!(nanoseconds(&scaled), nanoseconds(&point));
        }

        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = nanoseconds(&text);
        }
    }
}
