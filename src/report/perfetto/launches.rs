//! Which slice of the host launched what.

use rustc_hash::FxHashMap;

use crate::timeline::{LabelId, Lane, Span, Timeline};
use crate::units::Instant;

/// Launches by index of what was launched.
pub(super) struct Launches {
    of: Vec<Option<u32>>,
}

/// Host slices of a process and label: their ends and indices, by end.
type Slices = FxHashMap<(u32, LabelId), Vec<(Instant, u32)>>;

impl Launches {
    /// Finds for everything on a device the last host slice of its rank and label that ended by
    /// the time it was launched. (A timeline says when, not by which slice.)
    pub(super) fn find(timeline: &Timeline) -> Self {
        let mut slices = Slices::default();
        for (index, span) in (0..).zip(&timeline.spans).filter(|(_, span)| span.lane == Lane::Host)
        {
            slices.entry((span.process, span.label)).or_default().push((span.end, index));
        }
        slices.values_mut().for_each(|slices| slices.sort_unstable());
        let launch = |span: &Span| -> Option<u32> {
            let slices = slices.get(&(span.process, span.label))?;
            let count = slices.partition_point(|slice| slice.0 <= span.launched);
            Some(slices[count.checked_sub(1)?].1)
        };
        let device = |span: &Span| if span.lane == Lane::Host { None } else { launch(span) };
        Self { of: timeline.spans.iter().map(device).collect() }
    }

    /// The host slice that launched a span.
    pub(super) fn of(&self, span: usize) -> Option<usize> {
        self.of[span].map(|index| index as usize)
    }
}
