//! What holds for every recording that a reader gives, whatever the file said.

use stepcast::analysis::{Cause, ProfileOptions, profile};
use stepcast::trace::Recording;
use stepcast::units::Picoseconds;

/// Its columns belong together, and analyses of it add up.
pub fn check(recording: &Recording) {
    let (spans, launches) = (&recording.timeline.spans, &recording.launched_by);
    assert_eq!(spans.len(), launches.len());
    assert!(spans.iter().all(|span| span.start <= span.end));
    for rank in profile(&recording.timeline, &ProfileOptions::default()).ranks {
        let causes = Cause::ALL.map(|cause| rank.idle_causes.time(cause));
        assert_eq!(causes.into_iter().sum::<Picoseconds>(), rank.occupancy.idle);
    }
}
