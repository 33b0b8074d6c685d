//! Kernels that communication beside them slows.

use super::suspicion::{Removal, Suspicion, evidence, spoken_name, us};
use crate::analysis::{Clue, SlowdownCause};
use crate::calibrate::{Interference, interference};
use crate::explore::what_if::beside_communication;
use crate::timeline::{Span, SpanId};
use crate::trace::Recording;

/// Slowdown from which on a class of kernels counts as slowed.
const SLOWED: f64 = 1.03;
/// Kernels beside communication that a factor must rest on.
const KERNELS_LEAST: u64 = 4;

/// One for each class of kernels that the recording shows to be slower beside communication.
pub(super) fn suspicions(recording: &Recording) -> Vec<Suspicion> {
    let beside = beside_communication(recording);
    let measured = interference(recording).factors;
    let is_slowed = |it: &&Interference| it.factor > SLOWED && it.beside_count >= KERNELS_LEAST;
    let found = measured.iter().filter(is_slowed);
    // What stands for several classes is no class of its own, and selects no kernel.
    found.filter_map(|it| of_class(recording, &beside, it)).collect()
}

fn of_class(recording: &Recording, beside: &[bool], found: &Interference) -> Option<Suspicion> {
    let spans = (0..).map(SpanId).zip(&recording.timeline.spans);
    let mut slowed: Vec<(u64, SpanId, &Span)> = spans
        .filter(|(id, span)| beside[id.0 as usize] && span.class.name() == found.class)
        .map(|(id, span)| (span.end.ps() - span.start.ps(), id, span))
        .collect();
    slowed.sort_by_key(|one| (std::cmp::Reverse(one.0), one.1));
    let time_us: f64 = slowed.iter().map(|one| us(one.0)).sum();
    let class = found.class.replace('_', " ");
    let clue = |&(length, _, span): &(u64, SpanId, &Span)| -> Clue {
        let alone = us(length) / found.factor;
        let what = format!(
            "`{}` beside communication; about {alone:.0} us alone",
            spoken_name(recording, span)
        );
        evidence(recording, span.process, (span.start, span.end), what, None)
    };
    let unclear = match found.beside_count - found.told_count {
        0 => String::new(),
        unclear => format!("; {unclear} may be persistent and do other work"),
    };
    (!slowed.is_empty()).then(|| Suspicion {
        cause: SlowdownCause::Contention,
        what: format!(
            "{class} kernels take {:.2} times as long beside communication as without it (the same \
             {} times beside, {} times alone{unclear})",
            found.factor, found.beside_count, found.alone_count
        ),
        found_us: time_us * (1.0 - 1.0 / found.factor)
            / recording.timeline.processes.len().max(1) as f64,
        evidence: slowed.iter().take(3).map(clue).collect(),
        removal: Removal::Broader(format!(
            "scale kernels class={} beside=communication time={:.4}",
            found.class,
            1.0 / found.factor
        )),
        experiment: "give the collective fewer SMs (NCCL_MAX_CTAS, or the library's own setting) \
                     and look at kernels and collective together"
            .to_owned(),
    })
}
