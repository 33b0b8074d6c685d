//! A validation as one page that needs nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::io::{self, Write};

use super::{FAMILY_COLUMNS, cells, family_rows, scatter};
use crate::analysis::Validation;

/// Runs told one by one.
const WORST: usize = 50;

const STYLE: &str = "body{font:14px sans-serif;margin:2em auto;max-width:72em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child,td.name{text-align:left}
svg{max-width:100%;height:auto}.note{color:#666}";

const NOTE: &str = "MAPE, median, P95 and bias are of step time; memory is the MAPE of peak \
                    memory; tau and regret are over runs that share model, machine and batch; sign and \
                    ratio over pairs of them that differ in one key of plan or stack.";

/// Writes the page: errors by family, predicted against measured, the runs furthest off, and the
/// runs without a prediction.
///
/// # Errors
/// When the writer fails, or the chart cannot be drawn.
pub fn write_html(validation: &Validation, out: &mut dyn Write) -> io::Result<()> {
    let chart = scatter(validation).map_err(io::Error::other)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "stepcast: measured and predicted training steps" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Measured and predicted training steps" }
                (table(&FAMILY_COLUMNS, &family_rows(validation)))
                p.note { (NOTE) }
                (PreEscaped(chart))
                h2 { "Furthest off" }
                (worst(validation))
                (problems(validation))
            }
        }
    };
    out.write_all(page.into_string().as_bytes())
}

fn table(header: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        table {
            tr { @for cell in header { th { (cell) } } }
            @for row in rows { tr { @for cell in row { td { (cell) } } } }
        }
    }
}

fn worst(validation: &Validation) -> Markup {
    let rows: Vec<_> = validation.worst().into_iter().take(WORST).map(cells).collect();
    table(&["family", "run", "largest part", "measured", "predicted", "error"], &rows)
}

fn problems(validation: &Validation) -> Markup {
    let runs: Vec<_> = validation
        .runs
        .iter()
        .filter_map(|run| Some(vec![run.family.clone(), run.id.clone(), run.problem.clone()?]))
        .collect();
    html! {
        @if !runs.is_empty() {
            h2 { "Without a prediction" }
            (table(&["family", "run", "problem"], &runs))
        }
    }
}
