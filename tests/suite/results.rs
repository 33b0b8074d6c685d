//! The page of results and its figure are current.

use serde::Deserialize;
use std::fmt::Write as _;
use stepcast::analysis::{Family, Validation};
use stepcast::report::validation::scatter;

use crate::generated::{check, check_part};
use crate::measured_runs;
use crate::published::published;

/// What another simulator reaches.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    system: String,
    family: String,
    error: String,
    about: String,
    source: String,
}

#[derive(Deserialize)]
struct Peers {
    peer: Vec<Peer>,
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

fn row(family: &Family) -> String {
    let errors = family.step_time.expect("each family has runs");
    let tau = family.kendall_tau.map_or_else(|| "-".to_owned(), |tau| format!("{tau:.2}"));
    format!(
        "| {} | {} | {} | {} | {} | {:+.1} % | {} | {} | {tau} | {} | {} | {} | {} |\n",
        family.family,
        family.n,
        percent(Some(errors.mape)),
        percent(Some(errors.median_ape)),
        percent(Some(errors.p95_ape)),
        100.0 * errors.bias,
        percent(family.within_interval),
        percent(family.memory.map(|memory| memory.errors.mape)),
        percent(family.top1_regret),
        family.pairs.n,
        percent(family.pairs.sign_agreement),
        percent(family.pairs.median_ratio_error),
    )
}

fn table(validation: &Validation) -> String {
    let mut table = "| family | runs | MAPE | median | P95 | bias | in 80 % | memory MAPE | tau | \
                     regret | pairs | sign | ratio |\n|---|"
        .to_owned()
        + &"---:|".repeat(12)
        + "\n";
    for family in validation.families.iter().chain([&validation.overall]) {
        table += &row(family);
    }
    table
}

fn peers(validation: &Validation) -> String {
    let text = include_str!("../../validation/peers.toml");
    let peers: Peers = toml::from_str(text).expect("figures of peers");
    let mut table =
        "| family | stepcast | other | its error | on | source |\n|---|---:|---|---:|---|---|\n"
            .to_owned();
    for Peer { system, family, error, about, source } in peers.peer {
        let own = validation.families.iter().find(|own| own.family == family);
        let own = own.and_then(|own| own.step_time).expect("peers are of families of ours");
        let own = percent(Some(own.mape));
        writeln!(table, "| {family} | {own} | {system} | {error} | {about} | {source} |")
            .expect("text grows");
    }
    table
}

#[test]
fn the_results_on_published_runs_and_their_figure_are_current() {
    let validation = published();
    check_part("validation/RESULTS.md", "published", &table(&validation));
    check("validation/results.svg", &(scatter(&validation).expect("a chart") + "\n"));
}

#[test]
fn the_results_on_all_measured_runs_are_current() {
    let Some(validation) = measured_runs::all() else { return };
    check_part("validation/RESULTS.md", "all", &table(&validation));
    check_part("validation/RESULTS.md", "peers", &peers(&validation));
}
