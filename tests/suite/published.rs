//! Training steps that others measured and published.

use stepcast::analysis::{Family, Validation};
use stepcast::spec::{DataSources, published_runs};
use stepcast::validate::{CaseFile, validate};

use crate::generated::check_part;

/// All files of `validation/`.
fn files() -> Vec<CaseFile> {
    let read = |(name, text): (String, &str)| CaseFile::read(&name, text).expect("a file of runs");
    published_runs().into_iter().map(read).collect()
}

/// All published runs, predicted.
pub(crate) fn published() -> Validation {
    let entries: Vec<_> = files().iter().flat_map(CaseFile::entries).collect();
    validate(&DataSources::shipped(), &entries, &|| {})
}

/// What is over the limits of a file, if anything is.
fn excess(file: &CaseFile, family: &Family) -> Option<String> {
    let errors = family.step_time?;
    let memory = family.memory.map_or(0.0, |memory| memory.errors.mape);
    let memory_limit = file.limits.memory_mape;
    let is_over = errors.mape > file.limits.mape
        || errors.bias.abs() > file.limits.bias
        || memory > memory_limit.unwrap_or(0.0);
    let percent = |fraction: f64| format!("{:.2} %", 100.0 * fraction);
    is_over.then(|| {
        format!(
            "{}: MAPE {} of {}, bias {} of {}, memory {} of {}",
            file.family,
            percent(errors.mape),
            percent(file.limits.mape),
            percent(errors.bias),
            percent(file.limits.bias),
            percent(memory),
            memory_limit.map_or("none".to_owned(), percent)
        )
    })
}

#[test]
fn published_runs_are_met_within_the_limits_of_their_family() {
    let validation = published();
    let problems: Vec<_> = validation.runs.iter().filter_map(|run| run.problem.as_ref()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let mut over = Vec::new();
    for file in files() {
        let family = validation.families.iter().find(|family| family.family == file.family);
        over.extend(excess(&file, family.expect("each file is a family")));
    }
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}

#[test]
fn limits_of_published_runs_are_tight() {
    let validation = published();
    for file in files() {
        let family = validation.families.iter().find(|family| family.family == file.family);
        let errors = family.and_then(|family| family.step_time).expect("each file has runs");
        let most = 1.25 * errors.mape + 0.01;
        assert!(file.limits.mape <= most, "{}: {:.3} > {most:.3}", file.family, file.limits.mape);
    }
}

#[test]
fn a_family_over_its_limits_is_told() {
    let mut file = files().swap_remove(0);
    let validation = published();
    let family = validation.families.iter().find(|family| family.family == file.family);
    let family = family.expect("each file is a family");
    assert_eq!(excess(&file, family), None);
    file.limits.mape = 1e-6;
    assert!(excess(&file, family).is_some());
}

#[test]
fn every_published_run_says_where_it_is_from() {
    let mut count = 0;
    for file in files() {
        assert!(!file.source.is_empty() && !file.assumed.is_empty(), "{}", file.family);
        for entry in file.entries() {
            assert!(!entry.source.is_empty(), "{} {}", entry.family, entry.id);
            count += 1;
        }
    }
    assert!(count >= 100, "{count} published runs");
}

#[test]
fn the_accuracy_table_of_the_readme_is_current() {
    let mut table =
        "| family | runs | MAPE | median | bias |\n|---|---:|---:|---:|---:|\n".to_owned();
    let validation = published();
    for family in validation.families.iter().chain([&validation.overall]) {
        let errors = family.step_time.expect("each family has runs");
        table += &format!(
            "| {} | {} | {:.1} % | {:.1} % | {:+.1} % |\n",
            family.family,
            family.n,
            100.0 * errors.mape,
            100.0 * errors.median_ape,
            100.0 * errors.bias
        );
    }
    check_part("README.md", "accuracy", &table);
}
