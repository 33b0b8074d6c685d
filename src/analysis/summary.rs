//! The step in numbers.

use serde::Serialize;
use std::collections::BTreeMap;

use super::account::{Account, Part, accounts};
use super::uncertainty::interval;
use super::{Evidence, StageMemory, StepFacts};
use crate::timeline::{Lane, Timeline};
use crate::units::{Bytes, Flops, Instant, Seconds};
use crate::work::{Axis, Class};

/// The step in numbers; its serialisation is the contract of `simulate --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Length of the step.
    pub step_time_s: f64,
    /// Bounds that hold it with 80 %, given what is known of errors.
    pub step_time_interval_s: [f64; 2],
    /// Tokens a second and GPU.
    pub tokens_per_s_per_gpu: f64,
    /// Model arithmetic a second and GPU, in 10^12.
    pub model_tflops_per_gpu: f64,
    /// Dense peak of a GPU that `mfu` and `hfu` are shares of, in 10^12 a second.
    pub peak_tflops_per_gpu: f64,
    /// Model arithmetic over the peak.
    pub mfu: f64,
    /// Arithmetic with recomputation over the peak.
    pub hfu: f64,
    /// The stage with the most busy time, which sets the pace.
    pub critical_stage: u64,
    /// The critical stage's step, told apart; sums to `step_time_s`.
    pub time: TimeSummary,
    /// Compute of the critical stage by class of work, the optimizer left out; sums to
    /// `time.compute_s`.
    #[serde(rename = "compute_by_kind")]
    pub compute: BTreeMap<&'static str, f64>,
    /// Communication of a rank of the critical stage, by axis: tp, dp, pp, cp, ep.
    pub communication: BTreeMap<&'static str, CommunicationSummary>,
    /// Memory.
    pub memory: MemorySummary,
    /// What the answer rests on.
    pub evidence: Evidence,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The critical stage's step; sums to the step time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimeSummary {
    /// Kernels but the optimizer's.
    pub compute_s: f64,
    /// Communication that compute waits for.
    pub exposed_communication_s: f64,
    /// Waiting for other stages.
    pub bubble_s: f64,
    /// Waiting for the host to launch.
    pub host_bound_s: f64,
    /// The optimizer's kernels.
    pub optimizer_s: f64,
    /// What none of these explains.
    pub other_s: f64,
}

/// Communication along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CommunicationSummary {
    /// Time during which it moves data, hidden or not.
    pub total_s: f64,
    /// Time that compute waits for it.
    pub exposed_s: f64,
    /// Bytes, as nccl-tests counts them.
    pub bytes: f64,
}

/// Memory of the GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemorySummary {
    /// Of one GPU.
    pub capacity_bytes: u64,
    /// Of the fullest stage.
    pub peak_bytes: u64,
    /// What is taken from the GPU on the fullest stage: the allocator's segments, context and
    /// communicators.
    pub peak_reserved_bytes: u64,
    /// Tensors of the fullest stage at its peak (PyTorch's `max_memory_allocated`).
    pub peak_allocated_bytes: u64,
    /// Segments that the caching allocator of the fullest stage holds (`max_memory_reserved`).
    pub peak_cached_bytes: u64,
    /// Whether that is within the capacity.
    pub fits: bool,
    /// By stage.
    pub stages: Vec<StageMemory>,
}

/// Sums up a step.
///
/// Rates are per GPU that takes part: tokens a second is `tokens / step_time / gpu_count`, and MFU
/// is `model_flops / step_time / gpu_count / peak` (Chowdhery et al. 2022), HFU the same with
/// `hardware_flops`.
pub fn summarize(timeline: &Timeline, facts: &StepFacts) -> Summary {
    let step_end = Instant::START.after(facts.step_time);
    let accounts = accounts(timeline, step_end);
    let critical = critical_process(&accounts);
    let idle = Account::default();
    let account = accounts.get(critical).unwrap_or(&idle);
    let gpu_seconds = facts.step_time * facts.gpu_count as f64;
    let teraflops = |work: Flops| ratio(work.value(), gpu_seconds.value()) / 1e12;
    let peak = facts.peak.value() / 1e12;
    let model_tflops_per_gpu = teraflops(facts.model_flops);
    let stage = timeline.processes.get(critical).and_then(|process| process.stage);
    let time = time(account);
    Summary {
        step_time_s: facts.step_time.value(),
        step_time_interval_s: interval(facts.step_time.value(), &time, &facts.errors),
        tokens_per_s_per_gpu: ratio(facts.tokens, gpu_seconds.value()),
        model_tflops_per_gpu,
        peak_tflops_per_gpu: peak,
        mfu: ratio(model_tflops_per_gpu, peak),
        hfu: ratio(teraflops(facts.hardware_flops), peak),
        critical_stage: stage.unwrap_or(0),
        time,
        compute: Class::COMPUTE
            .into_iter()
            .filter(|&class| class != Class::Optimizer)
            .map(|class| (class.name(), account.time(Part::Work(class)).value()))
            .collect(),
        communication: communication(timeline, critical, account),
        memory: memory(facts),
        evidence: facts.evidence,
        warnings: facts.warnings.clone(),
    }
}

/// Zero instead of a division by nothing: an empty step trains nothing.
fn ratio(amount: f64, by: f64) -> f64 {
    if by > 0.0 { amount / by } else { 0.0 }
}

/// The process with the most busy time; the first of equals.
fn critical_process(accounts: &[Account]) -> usize {
    let busy = |index: &usize| (accounts[*index].busy_ps(), std::cmp::Reverse(*index));
    (0..accounts.len()).max_by_key(busy).unwrap_or(0)
}

fn time(account: &Account) -> TimeSummary {
    let compute = Class::COMPUTE.into_iter().filter(|&class| class != Class::Optimizer);
    let sum = |times: &mut dyn Iterator<Item = Seconds>| times.sum::<Seconds>().value();
    TimeSummary {
        compute_s: sum(&mut compute.map(|class| account.time(Part::Work(class)))),
        exposed_communication_s: sum(&mut Axis::ALL.into_iter().map(|axis| account.exposed(axis))),
        bubble_s: account.time(Part::Bubble).value(),
        host_bound_s: account.time(Part::Work(Class::Host)).value(),
        optimizer_s: account.time(Part::Work(Class::Optimizer)).value(),
        other_s: account.time(Part::Other).value(),
    }
}

/// What a process sent and received, from its own spans and from inside its blocks.
fn communication(
    timeline: &Timeline,
    process: usize,
    account: &Account,
) -> BTreeMap<&'static str, CommunicationSummary> {
    let mut sums = [(Seconds::ZERO, Bytes::ZERO); Axis::ALL.len()];
    let mut add = |axis: Axis, time: Seconds, bytes: Bytes| {
        for (known, sum) in Axis::ALL.into_iter().zip(&mut sums) {
            if known == axis {
                sum.0 += time;
                sum.1 += bytes;
            }
        }
    };
    for span in timeline.spans.iter().filter(|span| span.process as usize == process) {
        match (span.lane, span.class) {
            (Lane::Communication(axis, _), _) | (Lane::Compute, Class::Communication(axis)) => {
                add(axis, span.end - span.start, span.bytes);
            }
            _ => {}
        }
        let inside = span.breakdown.and_then(|index| timeline.breakdowns.get(index as usize));
        for traffic in inside.iter().flat_map(|breakdown| &breakdown.traffic) {
            add(traffic.axis, traffic.total, traffic.bytes);
        }
    }
    let summary = |(axis, (total, bytes)): (Axis, (Seconds, Bytes))| {
        let exposed_s = account.exposed(axis).value();
        let summary =
            CommunicationSummary { total_s: total.value(), exposed_s, bytes: bytes.value() };
        (axis.name(), summary)
    };
    Axis::ALL.into_iter().zip(sums).map(summary).collect()
}

fn memory(facts: &StepFacts) -> MemorySummary {
    let largest = |of: fn(&StageMemory) -> Bytes| {
        facts.memory.iter().map(of).fold(Bytes::ZERO, Bytes::max).value().round() as u64
    };
    let capacity_bytes = facts.capacity.value().round() as u64;
    let peak_reserved_bytes = largest(|stage| stage.peak_reserved);
    MemorySummary {
        capacity_bytes,
        peak_bytes: largest(|stage| stage.peak),
        peak_reserved_bytes,
        peak_allocated_bytes: largest(|stage| stage.peak_allocated),
        peak_cached_bytes: largest(|stage| stage.peak_cached),
        fits: peak_reserved_bytes <= capacity_bytes,
        stages: facts.memory.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::StepErrors;
    use crate::timeline::{Process, Span};
    use crate::units::FlopsPerSecond;

    /// Two stages; the second is the busier: 6 s of GEMM and 1 s of optimizer in a 10 s step.
    fn timeline() -> Timeline {
        let process = |stage| Process { rank: stage, stage: Some(stage), multiplicity: 1 };
        let mut timeline =
            Timeline { processes: vec![process(0), process(1)], ..Timeline::default() };
        let label = timeline.labels.intern("work");
        let dp = Class::Communication(Axis::Dp);
        for (process, lane, class, start, end) in [
            (0, Lane::Compute, Class::Gemm, 0, 5),
            (1, Lane::Compute, Class::Gemm, 2, 8),
            (1, Lane::Communication(Axis::Dp, 0), dp, 7, 9),
            (1, Lane::Compute, Class::Optimizer, 9, 10),
        ] {
            let [start, end] = [start, end].map(|s: u64| Instant::from_ps(s * 1_000_000_000_000));
            timeline.spans.push(Span {
                process,
                lane,
                start,
                end,
                ready: start,
                launched: Instant::START,
                label,
                class,
                task: None,
                bytes: Bytes::new(1e9),
                call: None,
                breakdown: None,
            });
        }
        timeline
    }

    fn facts() -> StepFacts {
        StepFacts {
            tokens: 4000.0,
            gpu_count: 2,
            model_flops: Flops::new(4e15),
            hardware_flops: Flops::new(5e15),
            peak: FlopsPerSecond::new(1e15),
            step_time: Seconds::new(10.0),
            capacity: Bytes::new(80e9),
            memory: [60e9, 90e9]
                .into_iter()
                .zip(0..)
                .map(|(reserved, stage)| StageMemory {
                    stage,
                    peak: Bytes::new(50e9),
                    peak_reserved: Bytes::new(reserved),
                    ..StageMemory::default()
                })
                .collect(),
            evidence: Evidence::default(),
            errors: StepErrors::default(),
            warnings: vec!["a warning".to_owned()],
        }
    }

    #[test]
    fn rates_and_times_are_those_of_the_busiest_stage() {
        let summary = summarize(&timeline(), &facts());
        // 4,000 tokens in 10 s on 2 GPUs; 4e15 FLOP in 20 GPU-seconds is 200 TFLOP/s.
        assert_eq!(summary.tokens_per_s_per_gpu, 200.0);
        assert_eq!(summary.model_tflops_per_gpu, 200.0);
        assert_eq!((summary.mfu, summary.hfu), (0.2, 0.25));
        assert_eq!(summary.critical_stage, 1);
        let expected = TimeSummary {
            compute_s: 6.0,
            exposed_communication_s: 1.0,
            bubble_s: 2.0,
            host_bound_s: 0.0,
            optimizer_s: 1.0,
            other_s: 0.0,
        };
        assert_eq!(summary.time, expected);
        let dp = CommunicationSummary { total_s: 2.0, exposed_s: 1.0, bytes: 1e9 };
        assert_eq!(summary.communication["dp"], dp);
    }

    #[test]
    fn a_step_fits_when_what_the_allocator_reserves_does() {
        let mut facts = facts();
        assert!(!summarize(&timeline(), &facts).memory.fits);
        facts.capacity = Bytes::new(90e9);
        let memory = summarize(&timeline(), &facts).memory;
        assert!(memory.fits);
        assert_eq!(
            (memory.peak_bytes, memory.peak_reserved_bytes),
            (50_000_000_000, 90_000_000_000)
        );
    }

    #[test]
    fn an_empty_step_divides_by_nothing() {
        let mut facts = facts();
        facts.step_time = Seconds::ZERO;
        facts.gpu_count = 0;
        let summary = summarize(&Timeline::default(), &facts);
        assert_eq!((summary.mfu, summary.tokens_per_s_per_gpu), (0.0, 0.0));
    }
}
