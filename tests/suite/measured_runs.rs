//! All measured runs of `../shared`, by family. They are no part of the project: where they are
//! absent these tests say so and judge nothing.

use std::fs;
use std::path::PathBuf;
use stepcast::analysis::{Run, Validation};
use stepcast::calibrate::Table;
use stepcast::spec::DataSources;
use stepcast::validate::{Assignment, Entry, Knob, fit_runs, is_held_out, read_runs, validate};

/// Errors that a family may have today: mean absolute and signed error of step time, mean absolute
/// error of peak memory. They may only get smaller.
const LIMITS: &[(&str, f64, f64, f64)] = &[
    ("bloom", 0.057, 0.01, 0.053),
    ("dgxc-gb200", 0.035, 0.013, 0.0),
    ("dgxc-h100", 0.029, 0.008, 0.0),
    ("dgxc-moe", 0.145, 0.095, 0.0),
    ("fms-fsdp", 0.036, 0.008, 0.0),
    ("internevo", 0.026, 0.007, 0.0),
    ("korthikanti-2022", 0.019, 0.009, 0.0),
    ("kwai-h800", 0.028, 0.019, 0.0),
    ("llm-foundry", 0.034, 0.013, 0.0),
    ("megatron-2020", 0.051, 0.024, 0.0),
    ("megatron-bridge", 0.036, 0.002, 0.0),
    ("megatron-bridge-moe", 0.211, 0.141, 0.0),
    ("mlperf-gpt3", 0.028, 0.021, 0.0),
    ("nemo-2407", 0.034, 0.006, 0.0),
    ("simumax-b200", 0.025, 0.016, 0.005),
    ("torchtitan", 0.035, 0.006, 0.121),
    ("ultrascale", 0.174, 0.093, 0.095),
    ("vtrain-multi", 0.065, 0.037, 0.0),
];

/// Runs whose plan, as their source has it, cannot be: more expert-parallel ranks than a stage has.
const IMPOSSIBLE: [&str; 1] = ["mbridge-25.09-DeepSeekV3-GB200-256-FP8-Pre-Training-L610b"];

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/measurements/runs");
    if !folder.is_dir() {
        eprintln!(
            "SKIPPED: ../shared/measurements/runs is absent, so measured runs are not judged"
        );
        return None;
    }
    Some(folder)
}

fn table(family: &str) -> Option<Table> {
    let file = format!("{family}.csv");
    let text = fs::read(folder()?.join(&file)).expect("a table of runs can be read");
    Some(Table::read(&file, text.as_slice()).expect("a table of runs"))
}

fn entries(family: &str) -> Option<Vec<Entry>> {
    let assignment = Assignment::default();
    Some(read_runs(&DataSources::shipped(), &table(family)?, &assignment).expect("runs"))
}

fn families() -> Option<Vec<String>> {
    let mut families: Vec<String> = fs::read_dir(folder()?)
        .expect("the folder of runs can be listed")
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    families.sort();
    Some(families)
}

pub(crate) fn all() -> Option<Validation> {
    let entries: Vec<Entry> = families()?.iter().filter_map(|it| entries(it)).flatten().collect();
    Some(validate(&DataSources::shipped(), &entries, &|| {}))
}

#[test]
fn every_family_is_within_its_limits_and_every_run_has_a_prediction() {
    let Some(validation) = all() else { return };
    let problems: Vec<&Run> = {
        let is_known = |run: &&Run| IMPOSSIBLE.contains(&run.id.as_str());
        validation.runs.iter().filter(|run| run.problem.is_some() && !is_known(run)).collect()
    };
    assert!(problems.is_empty(), "{problems:?}");
    let mut over = Vec::new();
    for family in &validation.families {
        let limits = LIMITS.iter().find(|limits| limits.0 == family.family);
        let &(name, mape, bias, memory) = limits.expect("each family has limits");
        let errors = family.step_time.expect("each family has runs");
        let peak = family.memory.map_or(0.0, |memory| memory.errors.mape);
        if errors.mape > mape || errors.bias.abs() > bias || peak > memory {
            over.push(format!(
                "{name}: {:.4} of {mape}, {:+.4} of {bias}, memory {peak:.4} of {memory}",
                errors.mape, errors.bias
            ));
        }
    }
    assert!(over.is_empty(), "\n{}", over.join("\n"));
    if folder().is_some() {
        assert_eq!(validation.families.len(), LIMITS.len(), "a limit for each family");
    }
}

#[test]
fn fitting_never_reads_a_run_that_it_is_judged_on() {
    let Some(entries) = entries("vtrain-multi") else { return };
    let entries: Vec<Entry> = entries.into_iter().take(24).collect();
    let sources = DataSources::shipped();
    let knobs: Vec<&Knob> = ["compute_factor", "network_factor"]
        .into_iter()
        .map(|key| Knob::named(key).expect("a knob"))
        .collect();
    let fit = fit_runs(&sources, &entries, &knobs, &|| {});
    // Held-out runs that take ten times as long change what is told of them, and nothing else.
    let mut disturbed = entries.clone();
    let mut count = 0;
    for entry in &mut disturbed {
        if is_held_out(&sources, entry).expect("a scenario") {
            entry.measured.step_time = entry.measured.step_time * 10.0;
            count += 1;
        }
    }
    assert_eq!(count, fit.held_out_count);
    assert!(count > 0 && fit.fitted_count > count, "{count} of {}", fit.fitted_count);
    let again = fit_runs(&sources, &disturbed, &knobs, &|| {});
    assert_eq!(again.fitted, fit.fitted);
    assert_eq!(again.fitted_errors, fit.fitted_errors);
    assert_ne!(again.held_out_errors, fit.held_out_errors);
}
