//! Work that was launched and had not begun: how far ahead of its device a host runs.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Work;
use super::host::HostProfile;
use crate::timeline::{Call, Lane};
use crate::units::Picoseconds;

/// Launches that a channel to a device takes before a further one waits: observed to be 1024 on
/// CUDA (Holistic Trace Analysis, "queue length"); a launch that many deep is near that.
const DEEP: u64 = 900;

/// A launch that takes so many times the median was held up.
const HELD_UP_TIMES: u64 = 10;

/// Work that was launched and had not begun, on the stream on which it was most.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueProfile {
    /// Stream with the deepest queue.
    pub stream: Option<String>,
    /// Most launches at a time that had not begun.
    pub max: u64,
    /// Mean over the time from the first launch to the last start of work, of that stream.
    pub mean: f64,
    /// Time with 900 launches or more of about 1024 that fit.
    #[serde(rename = "deep_us")]
    pub deep: Picoseconds,
    /// Launches into a queue of 900 or more that took over ten times the median.
    pub held_up_launches: u64,
    /// Time in these.
    #[serde(rename = "held_up_us")]
    pub held_up: Picoseconds,
}

/// Depth over time: changes in order.
#[derive(Default)]
struct Depth {
    /// When, by how much; at one time what begins comes before what is launched.
    changes: Vec<(u64, i8)>,
    /// Launches: when, and how long the call took.
    launches: Vec<(u64, u64)>,
}

impl QueueProfile {
    pub(super) fn of(work: &Work<'_>) -> Self {
        let median = HostProfile::of(work).launch_median.ps();
        let deepest = depths(work)
            .into_iter()
            .map(|(lane, depth)| (lane, depth.profile(median)))
            .max_by_key(|(lane, profile)| (profile.max, std::cmp::Reverse(*lane)));
        let Some((lane, profile)) = deepest else { return Self::default() };
        let named = work.timeline.lane_names.iter().find(|it| it.0 == work.process && it.1 == lane);
        let name = named.map(|it| work.timeline.labels.name(it.2).to_owned());
        Self { stream: name, ..profile }
    }
}

/// Launches by stream. Of the many kernels of a graph the first to begin counts.
fn depths(work: &Work<'_>) -> BTreeMap<Lane, Depth> {
    let mut depths: BTreeMap<Lane, Depth> = BTreeMap::new();
    let mut at = 0;
    while let Some(&(call, _)) = work.launches.get(at) {
        let count = work.launches[at..].iter().take_while(|it| it.0 == call).count();
        at += count;
        let first = work.launched(call).min_by_key(|span| span.occupied().0);
        let span = &work.timeline.spans[call as usize];
        let (Some(first), Some(kind)) = (first, span.call) else { continue };
        let began = first.occupied().0;
        if began < span.start || !kind.puts_work() {
            continue;
        }
        let depth = depths.entry(first.lane).or_default();
        depth.changes.extend([(span.start.ps(), 1), (began.ps(), -1)]);
        let length = Picoseconds::between(span.start, span.end).ps();
        let counts = kind == Call::Launch;
        depth.launches.push((span.start.ps(), if counts { length } else { 0 }));
    }
    depths
}

impl Depth {
    fn profile(mut self, median: u64) -> QueueProfile {
        self.changes.sort_unstable();
        self.launches.sort_unstable();
        let mut profile = QueueProfile::default();
        let (mut depth, mut area, mut last) = (0_u64, 0_u128, None);
        let mut launches = self.launches.iter().peekable();
        for &(at, change) in &self.changes {
            let passed = at - last.unwrap_or(at);
            area += u128::from(passed) * u128::from(depth);
            if depth >= DEEP {
                profile.deep += Picoseconds::new(passed);
            }
            if change < 0 {
                depth = depth.saturating_sub(1);
            } else {
                if let Some(&&(_, length)) = launches.peek() {
                    launches.next();
                    if depth >= DEEP && length > median.saturating_mul(HELD_UP_TIMES) {
                        profile.held_up_launches += 1;
                        profile.held_up += Picoseconds::new(length);
                    }
                }
                depth += 1;
            }
            profile.max = profile.max.max(depth);
            last = Some(at);
        }
        let first = self.changes.first().map_or(0, |change| change.0);
        let length = last.map_or(0, |last| last - first);
        profile.mean = if length == 0 { 0.0 } else { area as f64 / length as f64 };
        profile
    }
}
