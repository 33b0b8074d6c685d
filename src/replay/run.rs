//! Running a prepared program, and how it compares with what was recorded.

use super::Prepared;
use super::marks::mark_steps;
use crate::analysis::{Guesses, RankReplay, StepReplay};
use crate::program::{Stream, verify};
use crate::sim::{Origin, SimError};
use crate::timeline::{Lane, SpanId, Timeline};
use crate::units::Instant;

use super::build::HostWork;

/// Share of a step above which unexplained start time makes a replay worth little.
const UNEXPLAINED_MOST: f64 = 0.05;

/// A replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What happened in it.
    pub timeline: Timeline,
    /// Start (of communication: arrival) and end of each device span of the recording, by index of
    /// the span; `None` for hosts and for what an edit removed.
    pub times: Vec<Option<(Instant, Instant)>>,
    /// By process.
    pub ranks: Vec<RankReplay>,
    /// What had to be guessed.
    pub guesses: Guesses,
    /// Why it should be trusted less; empty when all is well.
    pub warnings: Vec<String>,
}

/// Runs a prepared program, and tells how it would go if nothing started later than its known
/// causes.
///
/// # Errors
///
/// When it hangs, which no recording should.
pub fn judge(prepared: &Prepared<'_>) -> Result<Replay, SimError> {
    let mut replay = run(prepared)?;
    let punctual = run(&prepared.punctual())?;
    for (rank, punctual) in replay.ranks.iter_mut().zip(punctual.ranks) {
        rank.window.punctual_us = Some(punctual.window.replayed_us);
        for (step, punctual) in rank.steps.iter_mut().zip(punctual.steps) {
            step.punctual_us = Some(punctual.replayed_us);
        }
    }
    Ok(replay)
}

/// Runs a prepared program.
///
/// # Errors
///
/// When it hangs, which an edit can make it do.
pub fn run(prepared: &Prepared<'_>) -> Result<Replay, SimError> {
    verify(&prepared.program)?;
    let outcome = crate::sim::run(&prepared.program, &prepared.costs, &prepared.machine)?;
    let mut timeline = outcome.timeline;
    let mut times = vec![None; prepared.recording.timeline.spans.len()];
    for (index, origin) in outcome.origins.iter().enumerate() {
        match *origin {
            Origin::Work(work) => {
                if let Some(span) = prepared.work_span[work.0 as usize] {
                    times[span.0 as usize] = Some(timeline.spans[index].occupied());
                }
            }
            Origin::Step { thread, step } => {
                let role = timeline.spans[index].process as usize;
                let place = prepared.places[role][thread as usize][step as usize];
                if let HostWork::Call(call) | HostWork::Wait(call) = place.work {
                    let name = prepared.recording.name(call);
                    timeline.spans[index].label = timeline.labels.intern(name);
                    timeline.spans[index].call =
                        prepared.recording.timeline.spans[call.0 as usize].call;
                }
            }
            Origin::Block(_) => {}
        }
    }
    for &(process, lane, name) in &prepared.recording.timeline.lane_names {
        let name = timeline.labels.intern(prepared.recording.timeline.labels.name(name));
        timeline.lane_names.push((process, lane, name));
    }
    mark_steps(prepared, &outcome.origins, &mut timeline);
    for process in &mut timeline.processes {
        // Stages are those of a plan, and a recording has none.
        process.stage = None;
    }
    let ranks = compare(prepared, &times);
    let warnings = warnings(prepared, &ranks);
    let guesses = Guesses {
        stated_waits: prepared.stated_waits,
        inferred_waits: prepared.inferred_waits,
        waits_for_room: prepared.held.len() as u64,
        synchronizations: prepared.guessed_synchronizations,
        handovers: prepared.guessed_handovers,
        without_launch: prepared.without_launch,
    };
    Ok(Replay { timeline, times, ranks, guesses, warnings })
}

/// Recorded and replayed stretches of each process.
fn compare(prepared: &Prepared<'_>, times: &[Option<(Instant, Instant)>]) -> Vec<RankReplay> {
    let timeline = &prepared.recording.timeline;
    let steps = steps_of_spans(prepared);
    (0..timeline.processes.len())
        .map(|process| {
            let device = || {
                (0..timeline.spans.len()).filter(|&index| {
                    let span = &timeline.spans[index];
                    span.process as usize == process && matches!(span.lane, Lane::Stream(_))
                })
            };
            let late = |wanted: Option<u64>| -> u64 {
                let of_process = prepared.late.iter().filter(|late| {
                    let index = late.span.0 as usize;
                    timeline.spans[index].process as usize == process
                        && wanted.is_none_or(|step| steps[index] == Some(step))
                });
                of_process.map(|late| late.late_ps).sum()
            };
            let mut window = Extent::default();
            let mut numbers: Vec<(u64, Extent)> = Vec::new();
            for index in device() {
                let (from, to) = timeline.spans[index].occupied();
                window.take((from, to), times[index]);
                let Some(number) = steps[index] else { continue };
                if numbers.last().is_none_or(|last| last.0 != number)
                    && !numbers.iter().any(|known| known.0 == number)
                {
                    numbers.push((number, Extent::default()));
                }
                if let Some(entry) = numbers.iter_mut().find(|known| known.0 == number) {
                    entry.1.take((from, to), times[index]);
                }
            }
            // A step lasts until the next begins.
            numbers.sort_by_key(|entry| entry.0);
            for index in 1..numbers.len() {
                let next = numbers[index].1;
                numbers[index - 1].1.end_at(next);
            }
            let step = |(number, extent): &(u64, Extent)| extent.step(*number, late(Some(*number)));
            RankReplay {
                rank: timeline.processes[process].rank,
                window: window.step(0, late(None)),
                steps: numbers.iter().map(step).collect(),
            }
        })
        .collect()
}

/// The marked step in which each device span was launched, by index of the span.
fn steps_of_spans(prepared: &Prepared<'_>) -> Vec<Option<u64>> {
    let recording = prepared.recording;
    let timeline = &recording.timeline;
    let step_at = |process: u32, at: Instant| {
        let mut steps = timeline.steps.iter().filter(|step| step.process == process);
        steps.find(|step| step.start <= at && at < step.end).map(|step| step.number)
    };
    (0..timeline.spans.len())
        .map(|index| {
            let span = &timeline.spans[index];
            let call = recording.launched_by[index]?;
            step_at(span.process, timeline.spans[call.0 as usize].start)
        })
        .collect()
}

/// First start and last end, recorded and replayed.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    measured: Option<(Instant, Instant)>,
    replayed: Option<(Instant, Instant)>,
}

impl Extent {
    fn take(&mut self, measured: (Instant, Instant), replayed: Option<(Instant, Instant)>) {
        let join = |known: Option<(Instant, Instant)>, new: (Instant, Instant)| {
            Some(known.map_or(new, |known| (known.0.min(new.0), known.1.max(new.1))))
        };
        self.measured = join(self.measured, measured);
        if let Some(replayed) = replayed {
            self.replayed = join(self.replayed, replayed);
        }
    }

    fn end_at(&mut self, next: Self) {
        let end = |own: &mut Option<(Instant, Instant)>, next: Option<(Instant, Instant)>| {
            if let (Some(own), Some(next)) = (own, next) {
                own.1 = next.0.max(own.0);
            }
        };
        end(&mut self.measured, next.measured);
        end(&mut self.replayed, next.replayed);
    }

    fn step(self, number: u64, late_ps: u64) -> StepReplay {
        let us = |extent: Option<(Instant, Instant)>| {
            extent.map_or(0.0, |(from, to)| (to - from).value() * 1e6)
        };
        let (measured_us, replayed_us) = (us(self.measured), us(self.replayed));
        let over = |part: f64| if measured_us > 0.0 { part / measured_us } else { 0.0 };
        let unexplained_us = late_ps as f64 * 1e-6;
        StepReplay {
            number,
            measured_us,
            replayed_us,
            error: over(replayed_us - measured_us),
            punctual_us: None,
            unexplained_us,
            unexplained_fraction: over(unexplained_us),
        }
    }
}

fn warnings(prepared: &Prepared<'_>, ranks: &[RankReplay]) -> Vec<String> {
    let mut warnings = Vec::new();
    for rank in ranks {
        let share = rank.window.unexplained_fraction;
        if share > UNEXPLAINED_MOST {
            warnings.push(format!(
                "rank {}: {:.1} % of the time is starts that nothing in the recording explains{}",
                rank.rank,
                100.0 * share,
                latest(prepared, rank.rank)
            ));
        }
    }
    let streams = prepared.recording.timeline.spans.iter().filter_map(|span| match span.lane {
        Lane::Stream(number) => Some(number as usize + 1),
        _ => None,
    });
    let most = streams.max().unwrap_or(0);
    if most > Stream::RECORDED_COUNT {
        warnings.push(format!(
            "a rank has {most} streams; all beyond the first {} are replayed as one",
            Stream::RECORDED_COUNT - 1
        ));
    }
    let device = prepared.span_work.iter().flatten().count() as u64;
    if device > 0 && prepared.without_launch * 20 > device {
        warnings.push(format!(
            "{} of {device} pieces of device work have no launch in the recording; they start when \
             their stream lets them",
            prepared.without_launch
        ));
    }
    warnings
}

/// The latest kinds of work of a rank, for a message.
fn latest(prepared: &Prepared<'_>, rank: u64) -> String {
    let timeline = &prepared.recording.timeline;
    let mut late: Vec<(u64, SpanId)> = prepared
        .late
        .iter()
        .filter(|late| {
            let process = timeline.spans[late.span.0 as usize].process;
            timeline.processes[process as usize].rank == rank
        })
        .map(|late| (late.late_ps, late.span))
        .collect();
    late.sort_unstable_by_key(|late| (std::cmp::Reverse(late.0), late.1));
    let describe = |&(late_ps, span): &(u64, SpanId)| {
        let name: String = prepared.recording.name(span).chars().take(40).collect();
        let at_us = timeline.spans[span.0 as usize].start.ps() as f64 * 1e-6;
        format!("`{name}` at {at_us:.0} us by {:.0} us", late_ps as f64 * 1e-6)
    };
    let named: Vec<String> = late.iter().take(3).map(describe).collect();
    if named.is_empty() { String::new() } else { format!("; the latest are {}", named.join(", ")) }
}
