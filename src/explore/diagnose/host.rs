//! Causes on the host: the device does nothing because nothing was launched.

use std::collections::{BTreeMap, BTreeSet};

use super::frames::Frames;
use super::suspicion::{Removal, Suspicion, evidence, exactly, python_line, spoken_name, us};
use crate::analysis::{Cause, Clue, IdleStretch, SlowdownCause};
use crate::timeline::{FrameKind, FramePurpose, Lane, SpanId};
use crate::trace::Recording;

/// What is looked at.
pub(super) struct Scene<'a> {
    pub(super) recording: &'a Recording,
    pub(super) frames: &'a Frames<'a>,
    /// Stretches in which a device does nothing.
    pub(super) gaps: &'a [IdleStretch],
}

/// Pieces of evidence that are shown.
const SHOWN: usize = 3;

impl Scene<'_> {
    fn ranks(&self) -> f64 {
        self.recording.timeline.processes.len().max(1) as f64
    }

    /// Time of some gaps, per rank.
    fn time_us(&self, gaps: &[&IdleStretch]) -> f64 {
        gaps.iter().map(|gap| us(gap.end.ps() - gap.start.ps())).sum::<f64>() / self.ranks()
    }

    fn of(&self, causes: &[Cause]) -> Vec<&IdleStretch> {
        self.gaps.iter().filter(|gap| causes.contains(&gap.cause)).collect()
    }

    /// The longest gaps as evidence.
    fn longest(&self, gaps: &[&IdleStretch], what: impl Fn(&IdleStretch) -> String) -> Vec<Clue> {
        let mut sorted = gaps.to_vec();
        sorted.sort_by_key(|gap| (std::cmp::Reverse(gap.end.ps() - gap.start.ps()), gap.start));
        let place = |gap: &IdleStretch| {
            let thread = thread(gap)?;
            python_line(self.recording, self.frames, (gap.process, thread), gap.at)
        };
        sorted
            .into_iter()
            .take(SHOWN)
            .map(|gap| {
                evidence(self.recording, gap.process, (gap.start, gap.end), what(gap), place(gap))
            })
            .collect()
    }

    fn call_name(&self, call: SpanId) -> &str {
        self.recording.name(call)
    }

    /// The innermost operator, else annotation, in which the host was; ranges that enclose whole
    /// steps say nothing.
    fn operator(&self, gap: &IdleStretch) -> Option<&str> {
        let thread = thread(gap)?;
        let find = |kind| {
            let mut around = self.frames.around(gap.process, thread, gap.at);
            around.find(|it| it.kind == kind && it.purpose != Some(FramePurpose::Range))
        };
        let frame = find(FrameKind::Operator).or_else(|| find(FrameKind::Annotation))?;
        Some(self.recording.timeline.labels.name(frame.label))
    }

    /// The work that ended a gap.
    fn next(&self, gap: &IdleStretch) -> String {
        spoken_name(self.recording, &self.recording.timeline.spans[gap.next.0 as usize])
    }

    /// The outermost frame that loads data around the point of a gap.
    fn loader(&self, gap: &IdleStretch) -> Option<&str> {
        let labels = &self.recording.timeline.labels;
        let around = self.frames.around(gap.process, thread(gap)?, gap.at);
        let loading = around.filter(|frame| frame.purpose == Some(FramePurpose::DataLoading));
        loading.map(|frame| labels.name(frame.label)).last()
    }
}

/// Number of the thread whose doing a stretch is.
fn thread(gap: &IdleStretch) -> Option<u32> {
    match gap.thread? {
        Lane::Thread(thread) => Some(thread),
        _ => None,
    }
}

/// All causes on the host.
pub(super) fn suspicions(scene: &Scene<'_>) -> Vec<Suspicion> {
    let mut found = data_loading(scene);
    found.extend(synchronization(scene));
    found.extend(launch_bound(scene));
    found.extend(host_work(scene));
    found.extend(memory(scene));
    found
}

fn data_loading(scene: &Scene<'_>) -> Vec<Suspicion> {
    let mut by_loader: BTreeMap<&str, Vec<&IdleStretch>> = BTreeMap::new();
    for gap in scene.of(&[Cause::DataLoading]) {
        if let Some(loader) = scene.loader(gap) {
            by_loader.entry(loader).or_default().push(gap);
        }
    }
    let suspicion = |(loader, gaps): (&str, Vec<&IdleStretch>)| Suspicion {
        cause: SlowdownCause::DataLoading,
        what: format!("the device does nothing while the host is in `{loader}`"),
        found_us: scene.time_us(&gaps),
        evidence: scene.longest(&gaps, |_| "device idle while data is loaded".to_owned()),
        removal: Removal::Exact(format!("remove host within={}", exactly(loader))),
        experiment: "train ten steps on one batch that is made once and kept; if the step gets \
                     shorter, load in more workers (num_workers, prefetch_factor, pin_memory)"
            .to_owned(),
    };
    by_loader.into_iter().map(suspicion).collect()
}

fn synchronization(scene: &Scene<'_>) -> Vec<Suspicion> {
    let mut by_call: BTreeMap<(&str, Option<&str>), Vec<&IdleStretch>> = BTreeMap::new();
    // What is behind the waiting and still late is its doing too.
    let causes = [Cause::Synchronization, Cause::AfterSynchronization, Cause::Latency];
    for gap in scene.of(&causes) {
        if let Some(call) = gap.call {
            let key = (scene.call_name(call), scene.operator(gap));
            by_call.entry(key).or_default().push(gap);
        }
    }
    let suspicion = |((call, operator), gaps): ((&str, Option<&str>), Vec<&IdleStretch>)| {
        let inside = operator.map_or(String::new(), |name| format!(" in `{name}`"));
        let within = operator.map_or(String::new(), |it| format!(" within={}", exactly(it)));
        Suspicion {
            cause: SlowdownCause::HiddenSynchronization,
            what: format!(
                "`{call}`{inside} waits for the device, which then does nothing until the host has \
                 launched again"
            ),
            found_us: scene.time_us(&gaps),
            evidence: scene.longest(&gaps, |_| format!("device idle after `{call}`")),
            removal: Removal::Exact(format!("remove sync name={}{within}", exactly(call))),
            experiment:
                "take the call out for ten steps (.item(), .cpu(), a copy from memory that \
                         is not pinned, a printed loss), or let it look at the step before"
                    .to_owned(),
        }
    };
    by_call.into_iter().map(suspicion).collect()
}

fn launch_bound(scene: &Scene<'_>) -> Option<Suspicion> {
    let mut gaps = scene.of(&[Cause::Launch, Cause::Latency]);
    gaps.retain(|gap| gap.call.is_none());
    // Each stretch ends with one launch, and that is on its way behind it.
    let times = gaps.iter().map(|gap| gap.next).collect::<BTreeSet<_>>().len();
    (!gaps.is_empty()).then(|| Suspicion {
        cause: SlowdownCause::LaunchBound,
        what: format!("the device runs out of work {times} times while the host is launching"),
        found_us: scene.time_us(&gaps),
        evidence: scene.longest(&gaps, |gap| {
            let inside = scene.operator(gap).map_or(String::new(), |name| format!(" in `{name}`"));
            format!("device idle until the host{inside} has launched `{}`", scene.next(gap))
        }),
        removal: Removal::Broader("graph".to_owned()),
        experiment:
            "double the micro-batch: a launch-bound step hardly gets longer; then capture a \
                     CUDA graph, or compile (torch.compile, mode=\"reduce-overhead\")"
                .to_owned(),
    })
}

/// One for each place in which the host is.
fn host_work(scene: &Scene<'_>) -> Vec<Suspicion> {
    let mut by_place: BTreeMap<Option<&str>, Vec<&IdleStretch>> = BTreeMap::new();
    for gap in scene.of(&[Cause::HostWork]) {
        by_place.entry(scene.operator(gap)).or_default().push(gap);
    }
    let suspicion = |(place, gaps): (Option<&str>, Vec<&IdleStretch>)| {
        let inside = place.map_or("outside of all operators".to_owned(), |it| format!("in `{it}`"));
        let stretch = |gap: &&IdleStretch| {
            Some(((gap.process, thread(gap)?), (gap.start.ps(), gap.end.ps())))
        };
        Suspicion {
            cause: SlowdownCause::HostWork,
            what: format!(
                "the device does nothing while the host, {inside}, launches nothing for over a \
                 millisecond ({} times)",
                gaps.len()
            ),
            found_us: scene.time_us(&gaps),
            evidence: scene.longest(&gaps, |gap| {
                format!("device idle, the next launched is `{}`", scene.next(gap))
            }),
            removal: Removal::HostTime(gaps.iter().filter_map(stretch).collect()),
            experiment: "sample the host in that place (py-spy dump): data, logging, checkpoints, \
                         garbage collection, and kernels that are loaded or tuned at first use \
                         are the usual ones"
                .to_owned(),
        }
    };
    by_place.into_iter().map(suspicion).collect()
}

fn memory(scene: &Scene<'_>) -> Option<Suspicion> {
    let gaps = scene.of(&[Cause::Allocation]);
    let mut names: Vec<&str> =
        gaps.iter().filter_map(|gap| Some(scene.call_name(gap.call?))).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| Suspicion {
        cause: SlowdownCause::MemoryPressure,
        what: format!("the device does nothing while the host is in {}", names.join(", ")),
        found_us: scene.time_us(&gaps),
        evidence: scene.longest(&gaps, |gap| {
            let call = gap.call.map_or("the driver", |call| scene.call_name(call));
            format!("device idle in `{call}`")
        }),
        removal: Removal::Exact(format!("remove host name='^({})$'", names.join("|"))),
        experiment:
            "look at num_alloc_retries of torch.cuda.memory_stats(); halve the micro-batch, \
                     or set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
                .to_owned(),
    })
}
