//! Step times that others measured and published.

use serde::Deserialize;
use stepcast::Detail;
use stepcast::units::Seconds;

use crate::generated::check_part;
use crate::scenarios::{predict, scenario};

/// A file of `validation/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    source: String,
    assumed: Vec<String>,
    case: Vec<Case>,
}

/// A run that somebody measured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    measured_step_time: Seconds,
    tolerance: f64,
    scenario: toml::Table,
}

/// What the predictions reach today; it may only get smaller.
const RATCHET: f64 = 0.06;

fn published(text: &str) -> Published {
    let file: Published = toml::from_str(text).expect("a file of published cases");
    assert!(!file.source.is_empty() && !file.assumed.is_empty() && !file.case.is_empty());
    file
}

/// The cases of Korthikanti et al. 2022 with what is predicted for each, in seconds.
fn korthikanti_2022() -> Vec<(Case, f64)> {
    let file = published(include_str!("../../validation/korthikanti-2022.toml"));
    let predict = |case: Case| {
        let text = toml::to_string(&case.scenario).expect("a table of a TOML file is TOML");
        let predicted = predict(&scenario(&text), Detail::Folded).summary.step_time_s;
        (case, predicted)
    };
    file.case.into_iter().map(predict).collect()
}

#[test]
fn korthikanti_2022_is_met_by_all_eight_runs() {
    let cases = korthikanti_2022();
    let mut table = String::new();
    let mut missed = 0;
    for (case, predicted) in &cases {
        let deviation = predicted / case.measured_step_time.value() - 1.0;
        missed += usize::from(deviation.abs() > case.tolerance.min(RATCHET));
        table += &format!(
            "\n{:>16}: {predicted:7.3} s of {} ({:+.2} %)",
            case.name,
            case.measured_step_time,
            100.0 * deviation
        );
    }
    assert_eq!(cases.len(), 8, "four models, two ways of recomputing");
    assert_eq!(missed, 0, "{table}");
}

#[test]
fn the_accuracy_table_of_the_readme_is_current() {
    let mut table = "| run | predicted | published | error |\n|---|---:|---:|---:|\n".to_owned();
    let mut sum = 0.0;
    let cases = korthikanti_2022();
    for (case, predicted) in &cases {
        let error = predicted / case.measured_step_time.value() - 1.0;
        sum += error.abs();
        let (measured, error) = (case.measured_step_time.value(), 100.0 * error);
        table +=
            &format!("| {} | {predicted:.2} s | {measured:.2} s | {error:+.1} % |\n", case.name);
    }
    let mean = 100.0 * sum / cases.len() as f64;
    table += &format!("| mean of absolute errors | | | {mean:.1} % |\n");
    check_part("README.md", "accuracy", &table);
}
