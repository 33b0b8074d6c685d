//! What slows a recorded step down.

use serde::Serialize;

/// What slows steps down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowdownCause {
    /// The device waits for the host to load data.
    DataLoading,
    /// A call makes the host wait for the device, and then the device for the host.
    HiddenSynchronization,
    /// The host cannot launch as fast as the device works.
    LaunchBound,
    /// The host is busy with something else than launching.
    HostWork,
    /// The driver is asked for memory, or given it back.
    MemoryPressure,
    /// Communication that nothing computes beside.
    ExposedCommunication,
    /// One rank keeps the others waiting.
    Straggler,
    /// Ranks have different amounts of work.
    Imbalance,
    /// Kernels so short that fusing them would pay.
    SmallKernels,
    /// Compute is slower beside communication.
    Contention,
}

impl SlowdownCause {
    /// Name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataLoading => "data loading",
            Self::HiddenSynchronization => "hidden synchronisation",
            Self::LaunchBound => "launch-bound",
            Self::HostWork => "host work",
            Self::MemoryPressure => "memory pressure",
            Self::ExposedCommunication => "exposed communication",
            Self::Straggler => "straggler",
            Self::Imbalance => "imbalance",
            Self::SmallKernels => "small kernels",
            Self::Contention => "contention under overlap",
        }
    }
}

/// Something in the recording that speaks for a cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clue {
    /// What happened.
    pub what: String,
    /// On which rank.
    pub rank: u64,
    /// When, since the start of the recording.
    pub start_us: f64,
    /// For how long.
    pub duration_us: f64,
    /// Where in the program, where the trace has Python stacks.
    pub place: Option<String>,
}

/// A cause that may be at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hypothesis {
    /// The cause.
    pub cause: SlowdownCause,
    /// In a sentence.
    pub what: String,
    /// Time found in the recording, per rank and step.
    pub found_us: f64,
    /// That over the time of a step.
    pub found_fraction: f64,
    /// What a step would save without it, by replay; `None` where no edit removes it.
    pub worth_us: Option<f64>,
    /// That over the replayed time of a step.
    pub worth_fraction: Option<f64>,
    /// The edit that removes it, for `what-if`.
    pub change: Option<String>,
    /// What speaks for it.
    pub evidence: Vec<Clue>,
    /// The cheapest experiment that tells whether it is so.
    pub experiment: String,
}

/// What slows a recorded step down, the dearest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Recorded time of a step of the job: from the first work of a device to the end of the last.
    pub measured_us: f64,
    /// Its replay, which worths are told against.
    pub replayed_us: f64,
    /// Share of the time of that rank that starts without a known cause.
    pub unexplained_fraction: f64,
    /// Causes.
    pub hypotheses: Vec<Hypothesis>,
    /// Why it should be trusted less.
    pub warnings: Vec<String>,
}
