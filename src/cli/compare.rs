//! `stepcast compare`: several scenarios, or variations of one, side by side.

use clap::Args;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stepcast::analysis::{Candidate, Outcome, Summary, compare};
use stepcast::report::comparison;
use stepcast::spec::{Override, Problem, Problems, Scenario, load};

use super::input::parse_overrides;
use super::progress::progress;
use super::{Context, Format, output, style};

/// More are a search, and nobody reads such a table.
const MOST_CANDIDATES: usize = 10_000;

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Scenarios: TOML files, or names of those that ship
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// Try each value of a key, such as plan.tp=1,2,4,8; repeatable, all combinations are tried
    #[arg(long, value_name = "KEY=VALUES")]
    vary: Vec<String>,
    /// Set a key in all of them, such as plan.tp=4 or model=llama3-8b; repeatable, later wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// One of the things to simulate.
struct Job {
    name: String,
    scenario: Result<Scenario, Problems>,
}

/// Compares; fails when nothing fits.
pub(crate) fn run(args: &CompareArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let jobs = jobs(args, context)?;
    let progress = progress(Some(jobs.len()), "simulating", context);
    let candidates: Vec<Candidate> = jobs
        .into_par_iter()
        .map(|job| {
            let outcome = job.scenario.map_err(|problems| reason(&problems)).and_then(predict);
            progress.inc(1);
            Candidate { name: job.name, outcome }
        })
        .collect();
    progress.finish_and_clear();
    let comparison = compare(candidates);
    let mut text = Vec::new();
    match context.format {
        Format::Text => comparison::write_text(&comparison, style::of(context), &mut text)?,
        Format::Json => comparison::write_json(&comparison, &mut text)?,
        Format::Csv => comparison::write_csv(&comparison, &mut text)?,
    }
    output::print(&String::from_utf8(text)?)?;
    let any_fits = comparison.rows.iter().any(|row| matches!(row.outcome, Outcome::Fits(_)));
    Ok(if any_fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn predict(scenario: Scenario) -> Result<Summary, String> {
    stepcast::simulate(&scenario, stepcast::Detail::Folded)
        .map(|prediction| prediction.summary)
        .map_err(|error| error.to_string())
}

/// What is wrong with a combination. Where is left out: it is in what was varied.
fn reason(problems: &Problems) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| Problem { place: None, ..problem.clone() }.to_string())
        .collect();
    lines.join("\n")
}

/// All combinations, loaded. A combination that is wrong is kept with its problems; a scenario
/// that is wrong as written, or in all combinations, is an error.
fn jobs(args: &CompareArgs, context: &Context) -> Result<Vec<Job>, Problems> {
    let fixed = parse_overrides(&args.overrides)?;
    let combinations = combinations(&args.vary)?;
    let count = combinations.len().saturating_mul(args.scenarios.len());
    if count > MOST_CANDIDATES {
        let message = format!("{count} combinations are more than {MOST_CANDIDATES}");
        return Err(Problem::new("", message).hint("vary fewer values at once").into());
    }
    let mut jobs = Vec::with_capacity(count);
    for path in &args.scenarios {
        for (variation, changes) in &combinations {
            let overrides: Vec<Override> = fixed.iter().chain(changes).cloned().collect();
            let scenario = load(&context.sources, path, &overrides);
            if args.vary.is_empty() {
                scenario.as_ref().map_err(Problems::clone)?;
            }
            jobs.push(Job { name: name(path, variation, &args.scenarios), scenario });
        }
    }
    match jobs.iter().all(|job| job.scenario.is_err()) {
        true => jobs.swap_remove(0).scenario.map(|_| Vec::new()),
        false => Ok(jobs),
    }
}

/// What tells a job from the others: its file where there are several, and what was varied.
fn name(path: &Path, variation: &str, all: &[PathBuf]) -> String {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let is_unique = all.iter().filter(|other| stem(other) == stem(path)).count() == 1;
    let file = match stem(path).filter(|_| is_unique) {
        Some(stem) => stem,
        None => path.display().to_string(),
    };
    match (variation.is_empty(), all.len()) {
        (true, _) => file,
        (false, 1) => variation.to_owned(),
        (false, _) => format!("{file} {variation}"),
    }
}

/// Every combination of the values of all `--vary`, the last one fastest, with its name; a single
/// empty one where nothing varies.
fn combinations(vary: &[String]) -> Result<Vec<(String, Vec<Override>)>, Problems> {
    let mut combinations = vec![(String::new(), Vec::new())];
    for argument in vary {
        let Some((key, values)) = argument.split_once('=') else {
            let problem = Problem::new("", format!("--vary {argument}: no `=`"));
            return Err(problem.hint("write KEY=VALUES, such as --vary plan.tp=1,2,4,8").into());
        };
        let choices: Vec<String> =
            split(values).into_iter().map(|value| format!("{}={value}", key.trim())).collect();
        let parsed = parse_overrides(&choices)?;
        if combinations.len().saturating_mul(choices.len()) > MOST_CANDIDATES {
            let message = format!("--vary asks for more than {MOST_CANDIDATES} combinations");
            return Err(Problem::new("", message).hint("vary fewer values at once").into());
        }
        combinations = combinations
            .iter()
            .flat_map(|(name, changes)| {
                choices.iter().zip(&parsed).map(move |(choice, change)| {
                    let name = format!("{name} {choice}").trim_start().to_owned();
                    let mut changes: Vec<Override> = changes.clone();
                    changes.push(change.clone());
                    (name, changes)
                })
            })
            .collect();
    }
    Ok(combinations)
}

/// Splits at commas that stand in no brackets and no quotes.
fn split(values: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0i32, None, 0);
    let mut parts = Vec::new();
    for (index, letter) in values.char_indices() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth -= 1,
            (',', None) if depth <= 0 => {
                parts.push(values[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(values[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_split_at_commas_outside_brackets_and_quotes() {
        assert_eq!(split("1, 2,4"), ["1", "2", "4"]);
        assert_eq!(split("[1,2],[3,4]"), ["[1,2]", "[3,4]"]);
        assert_eq!(split("\"a,b\",'c,d'"), ["\"a,b\"", "'c,d'"]);
    }

    #[test]
    fn all_combinations_are_tried_the_last_key_fastest() {
        let vary = ["plan.tp=1,2".to_owned(), "plan.pp=4,8".to_owned()];
        let names: Vec<String> = combinations(&vary).unwrap().into_iter().map(|it| it.0).collect();
        assert_eq!(
            names,
            [
                "plan.tp=1 plan.pp=4",
                "plan.tp=1 plan.pp=8",
                "plan.tp=2 plan.pp=4",
                "plan.tp=2 plan.pp=8"
            ]
        );
        assert_eq!(combinations(&[]).unwrap().len(), 1);
        assert!(combinations(&["plan.tp".to_owned()]).is_err());
    }
}
