//! What a span that stands for many kernels spent its time on.

use crate::timeline::{Breakdown, Span};
use crate::work::Class;

const PS_PER_SECOND: f64 = 1e12;

/// Divides `length` picoseconds of a span over the classes of its breakdown; the parts sum to
/// `length`.
///
/// Where the span is longer than its contents, either the host could not keep up or communication
/// `beside` it (picoseconds) slowed its kernels. It was the host when the host had no more of a
/// lead at the span's start than the span lost, or when the loss exceeds the communication beside
/// it; else compute is stretched.
pub(super) fn spread(
    breakdown: &Breakdown,
    span: &Span,
    length: u64,
    beside: u64,
) -> Vec<(Class, u64)> {
    let mut parts: Vec<(Class, f64)> = breakdown
        .exclusive
        .iter()
        .map(|(class, time)| (*class, (time.value() * PS_PER_SECOND).max(0.0)))
        .collect();
    let total: f64 = parts.iter().map(|part| part.1).sum();
    // The negation also catches NaN.
    if !(total > 0.0 && total.is_finite()) {
        return vec![(span.class, length)];
    }
    let excess = length as f64 - total;
    let lead = (span.start.ps().saturating_sub(span.launched.ps())) as f64;
    if excess > 0.0 {
        let is_compute = |class: Class| !matches!(class, Class::Communication(_) | Class::Host);
        let compute: f64 = parts.iter().filter(|part| is_compute(part.0)).map(|part| part.1).sum();
        if excess > beside as f64 || lead < excess {
            parts.push((Class::Host, excess));
        } else if compute > 0.0 {
            let stretch = (compute + excess) / compute;
            parts.iter_mut().filter(|part| is_compute(part.0)).for_each(|it| it.1 *= stretch);
        }
    }
    whole_parts(&parts, length)
}

/// Rounds shares of `length` so that they sum to it: each border is rounded, not each part.
fn whole_parts(parts: &[(Class, f64)], length: u64) -> Vec<(Class, u64)> {
    let total: f64 = parts.iter().map(|part| part.1).sum();
    let mut sum = 0.0;
    let mut border = 0;
    let mut whole = Vec::with_capacity(parts.len());
    for (index, &(class, share)) in parts.iter().enumerate() {
        sum += share;
        let next = match index + 1 == parts.len() {
            true => length,
            false => ((sum / total * length as f64).round() as u64).clamp(border, length),
        };
        whole.push((class, next - border));
        border = next;
    }
    whole
}
