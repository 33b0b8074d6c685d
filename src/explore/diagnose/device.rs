//! Causes on devices and between them.

use std::collections::{BTreeMap, BTreeSet};

use super::suspicion::{Removal, Suspicion, evidence, short_name, spoken_name, us};
use crate::analysis::{Clue, Intervals, SlowdownCause};
use crate::timeline::{Lane, Span, SpanId, StepMark};
use crate::trace::Recording;
use crate::work::Class;

/// Kernels shorter than this pay for being fused, in picoseconds (10 us): starting a kernel takes
/// as long.
const SMALL: u64 = 10_000_000;
/// Kernels further apart are not in a row, in picoseconds (100 us): the host did something else.
const PAUSE_MOST: u64 = 100_000_000;
/// A run of small kernels that is worth a word.
const RUN_LEAST: usize = 4;
/// Compute of a rank over that of others from which on it has more.
const MORE: f64 = 1.03;

/// All causes on devices.
pub(super) fn suspicions(recording: &Recording) -> Vec<Suspicion> {
    let mut found = exposed(recording);
    found.extend(straggler(recording));
    found.extend(imbalance(recording));
    found.extend(small_kernels(recording));
    found
}

/// Whether a span computes.
fn computes(span: &Span) -> bool {
    !span.lane.is_host() && !matches!(span.class, Class::Communication(_) | Class::Copy)
}

fn ranks(recording: &Recording) -> f64 {
    recording.timeline.processes.len().max(1) as f64
}

fn occupied(span: &Span) -> (u64, u64) {
    let (from, to) = span.occupied();
    (from.ps(), to.ps())
}

/// Union of the compute of each process.
fn compute(recording: &Recording) -> Vec<Intervals> {
    (0..recording.timeline.processes.len() as u32)
        .map(|process| {
            let spans = recording.timeline.spans.iter();
            let of_process = spans.filter(|span| span.process == process && computes(span));
            Intervals::union(of_process.map(occupied))
        })
        .collect()
}

fn exposed(recording: &Recording) -> Vec<Suspicion> {
    let spans = &recording.timeline.spans;
    let compute = compute(recording);
    let met: BTreeSet<SpanId> =
        recording.timeline.meetings.iter().flat_map(|it| it.members.iter().copied()).collect();
    let mut by_name: BTreeMap<String, Vec<(u64, SpanId)>> = BTreeMap::new();
    for (index, span) in (0..).zip(spans) {
        if span.lane.is_host() || !matches!(span.class, Class::Communication(_)) {
            continue;
        }
        let (from, to) = occupied(span);
        let bare = (to - from) - compute[span.process as usize].covered(from, to);
        if bare > 0 {
            by_name.entry(short_name(recording, span)).or_default().push((bare, SpanId(index)));
        }
    }
    let suspicion = |(name, mut found): (String, Vec<(u64, SpanId)>)| {
        found.sort_unstable_by_key(|one| (std::cmp::Reverse(one.0), one.1));
        let total: u64 = found.iter().map(|one| one.0).sum();
        let clue = |&(bare, id): &(u64, SpanId)| {
            let span = &spans[id.0 as usize];
            let waited = us(span.start.ps().saturating_sub(span.ready.ps()));
            let waited = match met.contains(&id) {
                true => format!("{waited:.0} us waiting for members"),
                false => "waiting or transfer: only traces of the other members tell".to_owned(),
            };
            let what = format!("{:.0} us of it exposed; {waited}", us(bare));
            evidence(recording, span.process, span.occupied(), what, None)
        };
        Suspicion {
            cause: SlowdownCause::ExposedCommunication,
            what: format!("nothing computes beside `{name}` ({} times)", found.len()),
            found_us: us(total) / ranks(recording),
            evidence: found.iter().take(3).map(clue).collect(),
            removal: Removal::Exact(format!("overlap name='{}'", regex::escape(&name))),
            experiment: "run one step with the collective issued earlier, or in smaller buckets; \
                         nccl-tests on the same ranks tell what of it is transfer"
                .to_owned(),
        }
    };
    by_name.into_iter().map(suspicion).collect()
}

/// For each process: what the others waited on average where it was last, by collective, in order
/// of time.
fn lateness(recording: &Recording) -> Vec<Vec<(SpanId, u64)>> {
    let timeline = &recording.timeline;
    let mut caused = vec![Vec::new(); timeline.processes.len()];
    for meeting in timeline.meetings.iter().filter(|meeting| meeting.members.len() > 1) {
        let ready = |member: &SpanId| timeline.spans[member.0 as usize].ready.ps();
        let Some(&last) = meeting.members.iter().max_by_key(|member| (ready(member), member.0))
        else {
            continue;
        };
        let others = meeting.members.iter().filter(|member| **member != last);
        let waited: u64 = others.map(|other| ready(&last) - ready(other)).sum();
        let process = timeline.spans[last.0 as usize].process as usize;
        caused[process].push((last, waited / (meeting.members.len() as u64 - 1)));
    }
    caused
}

/// The marked step during which a span begins.
fn step_at(recording: &Recording, span: SpanId) -> Option<u64> {
    let span = &recording.timeline.spans[span.0 as usize];
    let mut steps = recording.timeline.steps.iter();
    let holds = |step: &&StepMark| {
        step.process == span.process && step.start <= span.ready && span.ready < step.end
    };
    steps.find(holds).map(|step| step.number)
}

fn straggler(recording: &Recording) -> Option<Suspicion> {
    let timeline = &recording.timeline;
    let caused = lateness(recording);
    let all: usize = caused.iter().map(Vec::len).sum();
    let sum = |late: &Vec<(SpanId, u64)>| late.iter().map(|one| one.1).sum::<u64>();
    let (process, late) = caused
        .iter()
        .enumerate()
        .max_by_key(|(process, late)| (sum(late), std::cmp::Reverse(*process)))?;
    let fair = all as f64 / ranks(recording);
    if (late.len() as f64) < 1.5 * fair || sum(late) == 0 {
        return None;
    }
    let rank = timeline.processes[process].rank;
    let mut worst = late.clone();
    worst.sort_unstable_by_key(|one| (std::cmp::Reverse(one.1), one.0));
    let since = late.iter().find(|one| one.1 * 20 >= worst[0].1)?.0;
    let clue = |&(span, waited): &(SpanId, u64)| {
        let span = &timeline.spans[span.0 as usize];
        let what = format!(
            "last to `{}`, others waited {:.0} us",
            short_name(recording, span),
            us(waited)
        );
        evidence(recording, span.process, span.occupied(), what, None)
    };
    let busy: Vec<u64> = compute(recording).iter().map(Intervals::length).collect();
    let mut sorted = busy.clone();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2].max(1);
    let excess = busy[process] as f64 / median as f64;
    // A rank that computes no longer than the others is late by its host.
    let change = if excess > MORE {
        format!("scale kernels rank={rank} class=compute time={:.4}", 1.0 / excess)
    } else {
        format!("scale host rank={rank} time=0")
    };
    Some(Suspicion {
        cause: SlowdownCause::Straggler,
        what: format!(
            "rank {rank} is the last in {} of {all} collectives, noticeably since {:.0} us{}; it \
             computes {:.1} % {} than the median rank",
            late.len(),
            us(timeline.spans[since.0 as usize].ready.ps()),
            step_at(recording, since).map_or(String::new(), |step| format!(" (step {step})")),
            100.0 * (excess - 1.0).abs(),
            if excess < 1.0 { "less" } else { "more" }
        ),
        found_us: us(sum(late)),
        evidence: worst.iter().take(3).map(clue).collect(),
        removal: Removal::Exact(change),
        experiment:
            "swap that rank with another node: a straggler that moves with the node is the \
                     node's, one that stays is the plan's or the data's"
                .to_owned(),
    })
}

fn imbalance(recording: &Recording) -> Option<Suspicion> {
    let timeline = &recording.timeline;
    if timeline.meetings.is_empty() {
        return None;
    }
    let busy: Vec<u64> = compute(recording).iter().map(Intervals::length).collect();
    let (process, &most) = busy
        .iter()
        .enumerate()
        .max_by_key(|(process, busy)| (**busy, std::cmp::Reverse(*process)))?;
    let mean = busy.iter().sum::<u64>() as f64 / ranks(recording);
    if most == 0 || most as f64 / mean < MORE {
        return None;
    }
    let rank = timeline.processes[process].rank;
    Some(Suspicion {
        cause: SlowdownCause::Imbalance,
        what: format!(
            "rank {rank} computes {:.0} us, the mean rank {:.0} us",
            us(most),
            mean * 1e-6
        ),
        found_us: us(most) - mean * 1e-6,
        evidence: heavier_classes(recording, process as u32),
        removal: Removal::Exact(format!(
            "scale kernels rank={rank} class=compute time={:.4}",
            mean / most as f64
        )),
        experiment:
            "count what each rank gets (tokens, experts, embedding rows, layers); cut it evenly"
                .to_owned(),
    })
}

/// Classes of which a process has more than the mean one, those with most more first; each with its
/// longest kernel.
fn heavier_classes(recording: &Recording, process: u32) -> Vec<Clue> {
    let mut sums: BTreeMap<Class, (u64, u64, Option<&Span>)> = BTreeMap::new();
    for span in recording.timeline.spans.iter().filter(|span| computes(span)) {
        let length = span.end.ps() - span.start.ps();
        let sum = sums.entry(span.class).or_default();
        sum.1 += length;
        if span.process == process {
            sum.0 += length;
            let longest = sum.2.map_or(0, |longest| longest.end.ps() - longest.start.ps());
            sum.2 = if length > longest { Some(span) } else { sum.2 };
        }
    }
    let mut heavier: Vec<(f64, f64, Class, &Span)> = sums
        .into_iter()
        .filter_map(|(class, (own, all, longest))| {
            Some((us(own), us(all) / ranks(recording), class, longest?))
        })
        .filter(|(own, mean, ..)| own > mean)
        .collect();
    heavier.sort_by(|left, right| (right.0 - right.1).total_cmp(&(left.0 - left.1)));
    let clue = |(own, mean, class, span): &(f64, f64, Class, &Span)| {
        let (class, name) = (class.name().replace('_', " "), spoken_name(recording, span));
        let what = format!("{class} takes {own:.0} us, {mean:.0} us on the mean rank; `{name}`");
        evidence(recording, process, span.occupied(), what, None)
    };
    heavier.iter().take(3).map(clue).collect()
}

fn small_kernels(recording: &Recording) -> Option<Suspicion> {
    let mut streams: BTreeMap<(u32, Lane), Vec<SpanId>> = BTreeMap::new();
    for (index, span) in (0..).zip(&recording.timeline.spans) {
        if !span.lane.is_host() {
            streams.entry((span.process, span.lane)).or_default().push(SpanId(index));
        }
    }
    let is_small = |id: &SpanId| {
        let span = &recording.timeline.spans[id.0 as usize];
        let (from, to) = occupied(span);
        span.class == Class::Elementwise && to - from < SMALL
    };
    let spans = &recording.timeline.spans;
    let extent = |run: &[SpanId]| {
        let (first, last) = (&spans[run[0].0 as usize], &spans[run[run.len() - 1].0 as usize]);
        last.end.ps().saturating_sub(first.start.ps())
    };
    let mut runs: Vec<(u64, Vec<SpanId>)> = Vec::new();
    for ids in streams.values() {
        let is_near = |left: &SpanId, right: &SpanId| {
            let [left, right] = [left, right].map(|id| &spans[id.0 as usize]);
            right.start.ps().saturating_sub(left.end.ps()) < PAUSE_MOST
        };
        let in_a_row = |left: &SpanId, right: &SpanId| {
            is_small(left) && is_small(right) && is_near(left, right)
        };
        for run in ids.chunk_by(in_a_row) {
            if run.len() >= RUN_LEAST {
                let busy: u64 = run
                    .iter()
                    .map(|id| occupied(&spans[id.0 as usize]))
                    .map(|it| it.1 - it.0)
                    .sum();
                runs.push((extent(run).saturating_sub(busy), run.to_vec()));
            }
        }
    }
    let kernels: usize = runs.iter().map(|run| run.1.len()).sum();
    runs.sort_by_key(|run| (std::cmp::Reverse(run.0), run.1[0]));
    let between: u64 = runs.iter().map(|run| run.0).sum();
    let clue = |(_, run): &(u64, Vec<SpanId>)| {
        let (first, last) = (&spans[run[0].0 as usize], &spans[run[run.len() - 1].0 as usize]);
        let what = format!("{} kernels below 10 us in a row", run.len());
        evidence(recording, first.process, (first.start, last.end), what, None)
    };
    (!runs.is_empty()).then(|| Suspicion {
        cause: SlowdownCause::SmallKernels,
        what: format!(
            "{kernels} elementwise kernels below 10 us, in {} rows of {RUN_LEAST} or more, could \
             be fused",
            runs.len()
        ),
        found_us: us(between) / ranks(recording),
        evidence: runs.iter().take(3).map(clue).collect(),
        removal: Removal::Broader("fuse kernels class=elementwise".to_owned()),
        experiment:
            "torch.compile one block, or take a fused optimizer and norm, and count the kernels"
                .to_owned(),
    })
}
