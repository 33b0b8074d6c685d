//! Work that was launched and had not begun: how far ahead of its device a host runs.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Work;
use crate::timeline::{Call, Lane};
use crate::units::{Instant, Picoseconds};

/// Launches that a channel to a device takes before a further one waits: observed to be 1024 on
/// CUDA (Holistic Trace Analysis, "queue length"); a launch that many deep is near that.
const DEEP: u64 = 900;

/// A launch that takes so many times the median was held up.
const HELD_UP_TIMES: u64 = 10;

/// Bins of a series of depths at most.
const BINS: u64 = 512;

/// Work of a stream that was launched and had not begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueProfile {
    /// The stream.
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

/// Depth of a queue over time, in bins of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueSeries {
    /// Start of the first bin, since the start of the timeline.
    #[serde(rename = "start_us")]
    pub start: Picoseconds,
    /// Length of a bin.
    #[serde(rename = "bin_us")]
    pub bin: Picoseconds,
    /// Least depth in each bin.
    pub min: Vec<u64>,
    /// Most depth in each bin.
    pub max: Vec<u64>,
}

/// Depth over time: changes in order.
#[derive(Default)]
struct Depth {
    /// When, by how much; at one time what begins comes before what is launched.
    changes: Vec<(u64, i8)>,
    /// Launches: when, and how long the call took.
    launches: Vec<(u64, u64)>,
}

/// The queue of each stream on which work was launched, and its depth over time.
pub(super) fn queues(work: &Work<'_>, median: Picoseconds) -> BTreeMap<Lane, Queue> {
    let profile = |(lane, mut depth): (Lane, Depth)| {
        depth.changes.sort_unstable();
        depth.launches.sort_unstable();
        let stream = work.lane_name(lane).map(str::to_owned);
        let profile = QueueProfile { stream, ..depth.profile(median.ps()) };
        (lane, (profile, depth.series()))
    };
    depths(work).into_iter().map(profile).collect()
}

/// A queue and its depth over time.
pub(super) type Queue = (QueueProfile, QueueSeries);

/// That of the stream with the deepest.
pub(super) fn deepest(queues: &BTreeMap<Lane, Queue>) -> QueueProfile {
    let deepest =
        queues.iter().max_by_key(|(lane, queue)| (queue.0.max, std::cmp::Reverse(**lane)));
    deepest.map_or_else(QueueProfile::default, |(_, queue)| queue.0.clone())
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
    /// Of changes and launches in order.
    fn profile(&self, median: u64) -> QueueProfile {
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

    /// Least and most depth by bin, of changes in order.
    fn series(&self) -> QueueSeries {
        let Some((&(first, _), &(last, _))) = self.changes.first().zip(self.changes.last()) else {
            return QueueSeries::default();
        };
        let bin = (last - first).div_ceil(BINS).max(1);
        let count = (last - first).div_ceil(bin).max(1) as usize;
        let (mut min, mut max) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut changes = self.changes.iter().peekable();
        let mut depth = 0_u64;
        for number in 1..=count as u64 {
            let end = first + number * bin;
            let (mut least, mut most) = (None, None);
            loop {
                // All changes of a moment together: what is between them never was.
                let next = changes.peek().map(|change| change.0).filter(|&at| at < end);
                let is_before = next.is_none_or(|at| at > end - bin);
                if is_before {
                    least = Some(least.map_or(depth, |least: u64| least.min(depth)));
                    most = Some(most.map_or(depth, |most: u64| most.max(depth)));
                }
                let Some(at) = next else { break };
                while let Some((_, change)) = changes.next_if(|change| change.0 == at) {
                    depth = depth.saturating_add_signed(i64::from(*change));
                }
            }
            min.push(least.unwrap_or(depth));
            max.push(most.unwrap_or(depth));
        }
        let start = Picoseconds::between(Instant::START, Instant::from_ps(first));
        QueueSeries { start, bin: Picoseconds::new(bin), min, max }
    }
}
