//! Runs that were measured and predicted, and the errors of families of them.

use serde::Serialize;
use std::collections::BTreeMap;

use super::accuracy::Errors;
use super::ranking::{Order, Pairs, Timed, regret};

/// A measured run and what was predicted for it; a contract of `validate --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Name of the run.
    pub id: String,
    /// What it is told together with.
    pub family: String,
    /// How far the source is to be trusted: `A` or `B`; empty when it is not said.
    pub quality: String,
    /// Measured; 0 when the row has none.
    pub measured_step_time_s: f64,
    /// Predicted; absent with a problem.
    pub predicted_step_time_s: Option<f64>,
    /// Predicted over measured, less 1.
    pub error_fraction: Option<f64>,
    /// Bounds that hold the step time with 80 %, given what is known of errors.
    pub predicted_interval_s: Option<[f64; 2]>,
    /// Measured peak of a GPU, in the sense of `memory_kind`.
    pub measured_peak_bytes: Option<u64>,
    /// Predicted in the same sense.
    pub predicted_peak_bytes: Option<u64>,
    /// What the measured peak counts: `allocated`, `reserved`, `rank0`, `nvidia-smi`.
    pub memory_kind: Option<&'static str>,
    /// The largest part of the predicted step, and its share: where an error most likely is.
    pub largest_part: Option<String>,
    /// What was assumed where source or data say nothing.
    pub assumed: Vec<String>,
    /// Why there is no prediction.
    pub problem: Option<String>,
    /// What the run is a run of.
    #[serde(skip)]
    pub identity: Identity,
}

/// What a run is a run of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Model, GPUs and batch: runs of one question differ in plan and stack only.
    pub question: String,
    /// Keys of plan and stack with their values, the same keys in the same order in every run.
    pub knobs: Vec<(&'static str, String)>,
}

impl Identity {
    /// Whether two runs answer one question and differ in exactly one key.
    fn is_one_knob_from(&self, other: &Self) -> bool {
        let differing = self.knobs.iter().zip(&other.knobs).filter(|(left, right)| left != right);
        self.question == other.question && differing.take(2).count() == 1
    }
}

impl Run {
    fn timed(&self) -> Option<Timed> {
        self.predicted_step_time_s.map(|predicted| (self.measured_step_time_s, predicted))
    }

    fn is_within(&self) -> Option<bool> {
        let [low, high] = self.predicted_interval_s?;
        Some((low..=high).contains(&self.measured_step_time_s))
    }
}

/// How well a family of runs is predicted; a contract of `validate --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Its name; `all` of all families together.
    pub family: String,
    /// Runs with a prediction.
    pub n: u64,
    /// Runs without one.
    pub problem_count: u64,
    /// Of step time; absent where no run has a prediction.
    pub step_time: Option<Errors>,
    /// Of peak memory; absent where none was measured.
    pub memory: Option<MemoryErrors>,
    /// Kendall's tau over all pairs of runs of one question; absent where there is no pair.
    pub kendall_tau: Option<f64>,
    /// Mean over questions of how much longer the plan takes that is predicted to be the fastest.
    pub top1_regret: Option<f64>,
    /// Pairs of runs that differ in one key of plan or stack.
    pub pairs: Pairs,
    /// Share of the runs whose 80 % interval holds what was measured.
    pub within_interval: Option<f64>,
}

/// Errors of peak memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MemoryErrors {
    /// Runs whose memory was measured.
    pub n: u64,
    /// Their errors.
    #[serde(flatten)]
    pub errors: Errors,
}

/// Measured runs, all of them, and their errors by family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Validation {
    /// By name.
    pub families: Vec<Family>,
    /// All runs as one family.
    pub overall: Family,
    /// In the order in which they were given.
    pub runs: Vec<Run>,
}

impl Validation {
    /// Sums up runs.
    pub fn new(runs: Vec<Run>) -> Self {
        let mut by_family: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &runs {
            by_family.entry(&run.family).or_default().push(run);
        }
        let families = by_family.iter().map(|(name, runs)| family(name, runs)).collect();
        let overall = family("all", &runs.iter().collect::<Vec<_>>());
        Self { families, overall, runs }
    }

    /// Runs with a prediction, the worst first.
    pub fn worst(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> =
            self.runs.iter().filter(|run| run.error_fraction.is_some()).collect();
        let factor = |run: &Run| run.error_fraction.map_or(0.0, |error| error.ln_1p().abs());
        runs.sort_by(|left, right| factor(right).total_cmp(&factor(left)));
        runs
    }
}

fn family(name: &str, runs: &[&Run]) -> Family {
    let times: Vec<Timed> = runs.iter().filter_map(|run| run.timed()).collect();
    let peaks: Vec<(f64, f64)> = runs
        .iter()
        .filter_map(|run| run.measured_peak_bytes.zip(run.predicted_peak_bytes))
        .map(|(measured, predicted)| (measured as f64, predicted as f64))
        .collect();
    let mut questions: BTreeMap<(&str, &str), Vec<&Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.predicted_step_time_s.is_some()) {
        questions.entry((&run.family, &run.identity.question)).or_default().push(run);
    }
    let groups: Vec<Vec<Timed>> = questions
        .values()
        .map(|runs| runs.iter().filter_map(|run| run.timed()).collect())
        .collect();
    let order = groups.iter().map(|group| Order::of(group)).fold(Order::default(), Order::and);
    let regrets: Vec<f64> = groups.iter().filter_map(|group| regret(group)).collect();
    let within: Vec<bool> = runs.iter().filter_map(|run| run.is_within()).collect();
    let mean = |values: &[f64]| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let held = within.iter().map(|&is| f64::from(u8::from(is))).collect::<Vec<_>>();
    Family {
        family: name.to_owned(),
        n: times.len() as u64,
        problem_count: (runs.len() - times.len()) as u64,
        step_time: Errors::of(&times),
        memory: Errors::of(&peaks).map(|errors| MemoryErrors { n: peaks.len() as u64, errors }),
        kendall_tau: order.tau(),
        top1_regret: mean(&regrets),
        pairs: Pairs::of(&one_knob_pairs(questions.values())),
        within_interval: mean(&held),
    }
}

fn one_knob_pairs<'a>(questions: impl Iterator<Item = &'a Vec<&'a Run>>) -> Vec<(Timed, Timed)> {
    let mut pairs = Vec::new();
    for runs in questions {
        for (index, left) in runs.iter().enumerate() {
            for right in &runs[index + 1..] {
                if left.identity.is_one_knob_from(&right.identity) {
                    pairs.extend(left.timed().zip(right.timed()));
                }
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, knobs: [&str; 2], measured: f64, predicted: Option<f64>) -> Run {
        let [tp, zero] = knobs.map(str::to_owned);
        Run {
            id: id.to_owned(),
            family: "f".to_owned(),
            quality: "A".to_owned(),
            measured_step_time_s: measured,
            predicted_step_time_s: predicted,
            error_fraction: predicted.map(|predicted| predicted / measured - 1.0),
            predicted_interval_s: predicted.map(|predicted| [0.9 * predicted, 1.1 * predicted]),
            measured_peak_bytes: None,
            predicted_peak_bytes: None,
            memory_kind: None,
            largest_part: None,
            assumed: Vec::new(),
            problem: predicted.is_none().then(|| "because".to_owned()),
            identity: Identity {
                question: "q".to_owned(),
                knobs: vec![("tp", tp), ("zero", zero)],
            },
        }
    }

    #[test]
    fn a_row_without_a_prediction_is_counted_and_not_dropped() {
        let runs = vec![run("a", ["1", "0"], 1.0, Some(1.1)), run("b", ["2", "0"], 1.0, None)];
        let validation = Validation::new(runs);
        let family = &validation.families[0];
        assert_eq!((family.n, family.problem_count), (1, 1));
        assert_eq!(validation.runs.len(), 2);
        assert_eq!(validation.worst().len(), 1);
    }

    #[test]
    fn pairs_are_those_that_differ_in_one_key() {
        let validation = Validation::new(vec![
            run("a", ["1", "0"], 1.0, Some(1.0)),
            run("b", ["2", "0"], 2.0, Some(1.5)),
            run("c", ["2", "1"], 3.0, Some(3.0)),
            run("again", ["2", "0"], 2.1, Some(1.5)),
        ]);
        // a-b, a-again, b-c, c-again; b-again is a repeat, a-c differs in two keys.
        assert_eq!(validation.overall.pairs.n, 4);
        assert_eq!(validation.overall.pairs.sign_agreement, Some(1.0));
        assert_eq!(validation.overall.within_interval, Some(0.5));
    }

    #[test]
    fn the_worst_run_is_the_one_furthest_off_as_a_factor() {
        let validation = Validation::new(vec![
            run("a", ["1", "0"], 1.0, Some(1.8)),
            run("b", ["2", "0"], 1.0, Some(0.5)),
        ]);
        assert_eq!(validation.worst()[0].id, "b");
    }
}
