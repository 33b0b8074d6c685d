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
    /// What they would save if no start were later than its known causes; the answer takes such
    /// starts to stay as late as they were.
    pub worth_if_punctual_us: f64,
    /// Where most of the time goes.
    pub bottleneck_before: Bottleneck,
    /// Where it goes with all changes.
    pub bottleneck_after: Bottleneck,
    /// Each change by itself.
    pub changes: Vec<ChangeAnswer>,
    /// What kernels do that come to run beside communication, or no longer do.
    pub interference: InterferenceUsed,
    /// Why the replay should be trusted less.
    pub warnings: Vec<String>,
}

/// What communication does to kernels beside it, as an answer takes it: kernels that come to run
/// beside communication are slowed by these factors, those that no longer do are faster by them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InterferenceUsed {
    /// Factors measured on the recording itself.
    pub factors: Vec<FactorUsed>,
    /// Classes of which the recording does not tell, so that nothing slows them.
    pub untold: Vec<UntoldClass>,
}

/// A factor and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactorUsed {
    /// Class of kernels that it was applied to.
    pub class: String,
    /// Kernels that it was applied to.
    pub kernel_count: u64,
    /// Time beside communication over time alone.
    pub factor: f64,
    /// A quarter of the time beside communication is slowed by less.
    pub factor_p25: f64,
    /// A quarter is slowed by more.
    pub factor_p75: f64,
    /// The class that it was measured on: the same, or `memory_bound`.
    pub measured_on: String,
    /// Kernels beside communication that it was measured on.
    pub beside_count: u64,
    /// Of these, how many whose shape or grid tells for sure that they do the same work as those
    /// alone; the others may be persistent.
    pub told_count: u64,
    /// The same kernels alone.
    pub alone_count: u64,
}

/// A class of kernels that no factor is known of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UntoldClass {
    /// The class.
    pub class: String,
    /// Its kernels.
    pub kernel_count: u64,
    /// Share of the kernels' time.
    pub time_fraction: f64,
    /// Why there is no factor.
    pub why: String,
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
    /// How kernels were priced on another GPU; `None` for changes that do not.
    pub priced: Option<PricedKernels>,
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

/// How device work was priced on another GPU. Fractions are of its time on the recorded one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PricedKernels {
    /// By the shapes of their operators.
    pub by_shape_count: u64,
    /// Their share.
    pub by_shape_fraction: f64,
    /// By the kernel of their class that takes as long on the recorded GPU.
    pub by_time_count: u64,
    /// Their share.
    pub by_time_fraction: f64,
    /// Communication, which stays.
    pub unchanged_count: u64,
    /// Its share.
    pub unchanged_fraction: f64,
}
