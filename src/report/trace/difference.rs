//! The difference of two timelines as tables, JSON and CSV.

use std::io::{self, Write};

use super::name::short;
use crate::analysis::{PartDifference, StepDifference, TimelineDifference};
use crate::report::Style;
use crate::report::table::table;
use crate::report::text::heading;
use crate::units::Seconds;

/// Differences below this share of the step are not listed for people.
const LEAST: f64 = 0.001;
/// Steps listed at most.
const STEPS: usize = 12;

/// Writes the total, then the kinds of work and `top` names that make it up.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(
    difference: &TimelineDifference,
    top: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let what = if difference.is_per_step { "a step" } else { "the whole window" };
    let first = format!(
        "{what}: {} before, {} after, {}",
        time(difference.before_us),
        time(difference.after_us),
        signed(difference.difference_us)
    );
    out.write_all(heading(&first, style).as_bytes())?;
    if difference.is_per_step && difference.before_steps.min(difference.after_steps) == 0 {
        writeln!(out, "  one of them marks no steps and counts as one step")?;
    }
    let is_named = |part: &PartDifference| part.kind != "idle" && part.only_in.is_none();
    if !difference.parts.iter().any(is_named) {
        writeln!(out, "  no kernel has the same name in both: compare kinds")?;
    }
    let header = ["", "before", "after", "difference", "by number", "by length", "count"];
    let rows: Vec<Vec<String>> =
        difference.kinds.iter().map(|part| row(title(part), part)).collect();
    write!(out, "\n{}{}", heading("By kind", style), table(&header, &rows, 2))?;
    let columns = style.width.saturating_sub(62).max(24);
    let least = LEAST * difference.before_us.max(difference.after_us);
    let listed: Vec<&PartDifference> =
        difference.parts.iter().filter(|part| part.difference_us.abs() >= least).collect();
    let both: Vec<Vec<String>> = listed
        .iter()
        .filter(|part| part.only_in.is_none())
        .take(top)
        .map(|part| row(short(&part.name, columns), part))
        .collect();
    if !both.is_empty() {
        write!(out, "\n{}{}", heading("By name, in both", style), table(&header, &both, 2))?;
    }
    for side in ["before", "after"] {
        out.write_all(one_sided(&listed, side, (top, columns), style).as_bytes())?;
    }
    out.write_all(steps(difference, style).as_bytes())
}

/// What a kind is called.
fn title(part: &PartDifference) -> String {
    match (part.kind, part.operation) {
        ("communication", Some("unknown")) => "exposed communication".to_owned(),
        ("communication", Some(operation)) => format!("exposed {}", operation.replace('_', " ")),
        ("copy", _) => "exposed copies".to_owned(),
        (kind, _) => kind.replace('_', " "),
    }
}

/// What only one of the two has.
fn one_sided(
    listed: &[&PartDifference],
    side: &str,
    (top, columns): (usize, usize),
    style: Style,
) -> String {
    let found = listed.iter().filter(|part| part.only_in == Some(side));
    let row = |part: &&PartDifference| {
        let is_before = side == "before";
        let (count, us) = match is_before {
            true => (part.before_count, part.before_us),
            false => (part.after_count, part.after_us),
        };
        let count = if count > 0.0 { number(count) } else { String::new() };
        vec![short(&part.name, columns), title(part), time(us), count]
    };
    let rows: Vec<Vec<String>> = found.take(top).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let first = heading(&format!("By name, only {side}"), style);
    format!("\n{first}{}", table(&["", "kind", "time", "count"], &rows, 2))
}

/// Steps side by side, where both mark more than one.
fn steps(difference: &TimelineDifference, style: Style) -> String {
    let steps = &difference.steps;
    if steps.iter().filter(|step| step.difference_us.is_some()).count() < 2 {
        return String::new();
    }
    let us = |us: Option<f64>| us.map_or("-".to_owned(), time);
    let row = |step: &StepDifference| {
        let name = match (step.before_step, step.after_step) {
            (Some(before), Some(after)) if before != after => format!("{before}, {after}"),
            (Some(step), _) | (None, Some(step)) => step.to_string(),
            (None, None) => String::new(),
        };
        let difference = step.difference_us.map_or("-".to_owned(), signed);
        vec![name, us(step.before_us), us(step.after_us), difference]
    };
    let rows: Vec<Vec<String>> = steps.iter().take(STEPS).map(row).collect();
    let header = ["step", "before", "after", "difference"];
    format!("\n{}{}", heading("Steps", style), table(&header, &rows, 2))
}

fn row(name: String, part: &PartDifference) -> Vec<String> {
    let count = match (part.before_count > 0.0, part.after_count > 0.0) {
        (false, false) => String::new(),
        (true, false) => format!("{} to none", number(part.before_count)),
        (false, true) => format!("none to {}", number(part.after_count)),
        _ if part.before_count == part.after_count => number(part.before_count),
        _ => format!("{} to {}", number(part.before_count), number(part.after_count)),
    };
    let is_counted = part.before_count > 0.0 && part.after_count > 0.0;
    let split = |us: f64| if is_counted { signed(us) } else { String::new() };
    vec![
        name,
        time(part.before_us),
        time(part.after_us),
        signed(part.difference_us),
        split(part.by_count_us),
        split(part.by_length_us),
        count,
    ]
}

fn number(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.1}") }
}

fn time(us: f64) -> String {
    Seconds::from_us(us).to_string()
}

fn signed(us: f64) -> String {
    let sign = if us < 0.0 { '-' } else { '+' };
    format!("{sign}{}", time(us.abs()))
}

/// Writes the difference as one object, with `schema_version`.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(difference: &TimelineDifference, out: &mut dyn Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        schema_version: u32,
        #[serde(flatten)]
        difference: &'a TimelineDifference,
    }
    serde_json::to_writer_pretty(&mut *out, &Document { schema_version: 1, difference })?;
    writeln!(out)
}

/// Writes a row a name. Times are microseconds.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(difference: &TimelineDifference, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for part in &difference.parts {
        writer.serialize(part)?;
    }
    writer.flush()
}
