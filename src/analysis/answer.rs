//! What changes would do to a recorded step.

use serde::Serialize;

/// The answer to a what-if.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Recorded time of a step of the job: from the first work of a device to the end of the last.
    pub measured_us: f64,
    /// Its replay.
    pub before_us: f64,
    /// Its replay with all changes.
    pub after_us: f64,
    /// What all changes save.
    pub worth_us: f64,
    /// What they save together beyond the sum of what each saves by itself; negative where they
    /// save the same time.
    pub interaction_us: f64,
    /// Where most of the time goes.
    pub bottleneck_before: Bottleneck,
    /// Where it goes with all changes.
    pub bottleneck_after: Bottleneck,
    /// Each change by itself.
    pub changes: Vec<ChangeAnswer>,
    /// Why the replay should be trusted less.
    pub warnings: Vec<String>,
}

/// One change by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangeAnswer {
    /// As written.
    pub change: String,
    /// Kernels, calls or stretches of host time that it touched.
    pub touched: u64,
    /// What was assumed.
    pub assumed: Option<&'static str>,
    /// Time of a step with it.
    pub step_us: f64,
    /// What it saves.
    pub worth_us: f64,
}

/// Where most of the time of the slowest rank goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bottleneck {
    /// `compute`, `exposed communication` or `idle device`.
    pub name: &'static str,
    /// Share of the window in which kernels compute.
    pub compute_fraction: f64,
    /// Share in which communication runs that no compute covers.
    pub exposed_communication_fraction: f64,
    /// Share in which the device does nothing.
    pub idle_fraction: f64,
}

impl Bottleneck {
    /// The largest of three parts, in microseconds.
    pub fn of(compute: f64, exposed: f64, idle: f64) -> Self {
        let all = (compute + exposed + idle).max(f64::MIN_POSITIVE);
        let parts =
            [("compute", compute), ("exposed communication", exposed), ("idle device", idle)];
        let largest = parts.into_iter().max_by(|left, right| left.1.total_cmp(&right.1));
        Self {
            name: largest.map_or("", |part| part.0),
            compute_fraction: compute / all,
            exposed_communication_fraction: exposed / all,
            idle_fraction: idle / all,
        }
    }
}
