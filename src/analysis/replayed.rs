//! A recorded step beside its replay.

use serde::Serialize;

/// What a recording did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guesses {
    /// Waits of streams that it says.
    pub stated_waits: u64,
    /// Waits of streams that were inferred from times.
    pub inferred_waits: u64,
    /// Starts that waited until work launched later made room on the device.
    pub waits_for_room: u64,
    /// Calls whose target was inferred.
    pub synchronizations: u64,
    /// Hand-overs between host threads.
    pub handovers: u64,
    /// Device work without a launch.
    pub without_launch: u64,
}

/// A process, recorded and replayed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankReplay {
    /// Rank.
    pub rank: u64,
    /// The whole window, from the first work of the device to the end of the last.
    pub window: StepReplay,
    /// Marked steps, each from its first work to the first of the next.
    pub steps: Vec<StepReplay>,
}

/// A stretch of a process, recorded and replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepReplay {
    /// Number of the step; 0 for the window.
    pub number: u64,
    /// Recorded time.
    pub measured_us: f64,
    /// Replayed time: starts that nothing explains are as late as they were.
    pub replayed_us: f64,
    /// Replayed over recorded, less one.
    pub error: f64,
    /// Replayed time if every start were at the latest of its known causes; `None` where nobody
    /// asked.
    pub punctual_us: Option<f64>,
    /// How much later than every known cause work started, summed.
    pub unexplained_us: f64,
    /// That over the recorded time.
    pub unexplained_fraction: f64,
}
