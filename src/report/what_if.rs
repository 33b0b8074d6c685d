//! What changes would do to a recorded step.

use std::io::{self, Write};

use super::json::write_versioned;
use super::table::{percent, table};
use crate::analysis::{Answer, Bottleneck};

/// Writes tables for people.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let share = |us: f64| percent(us / answer.before_us.max(f64::MIN_POSITIVE));
    writeln!(
        out,
        "step: {:.0} us recorded, {:.0} us replayed, {:.0} us with {} ({:+.1} %)\n",
        answer.measured_us,
        answer.before_us,
        answer.after_us,
        if answer.changes.len() == 1 { "the change" } else { "all changes" },
        100.0 * (answer.after_us / answer.before_us.max(f64::MIN_POSITIVE) - 1.0)
    )?;
    let mut rows: Vec<Vec<String>> = answer
        .changes
        .iter()
        .map(|one| {
            vec![
                one.change.clone(),
                one.touched.to_string(),
                format!("{:.0} us", one.step_us),
                format!("{:.0} us", one.worth_us),
                share(one.worth_us),
            ]
        })
        .collect();
    if answer.changes.len() > 1 {
        let interaction = format!("{:+.0} us", answer.interaction_us);
        let none = String::new();
        rows.push(vec![
            "together".to_owned(),
            none.clone(),
            format!("{:.0} us", answer.after_us),
            format!("{:.0} us", answer.worth_us),
            share(answer.worth_us),
        ]);
        rows.push(vec!["interaction".to_owned(), none.clone(), none.clone(), interaction, none]);
    }
    write!(out, "{}", table(&["change", "touched", "step", "saved", "of the step"], &rows, 2))?;
    writeln!(out)?;
    let bottleneck = |bottleneck: &Bottleneck| {
        format!(
            "{} (compute {}, exposed communication {}, idle {})",
            bottleneck.name,
            percent(bottleneck.compute_fraction),
            percent(bottleneck.exposed_communication_fraction),
            percent(bottleneck.idle_fraction)
        )
    };
    writeln!(out, "bottleneck before: {}", bottleneck(&answer.bottleneck_before))?;
    writeln!(out, "bottleneck after:  {}", bottleneck(&answer.bottleneck_after))?;
    for one in &answer.changes {
        if let Some(assumed) = one.assumed {
            writeln!(out, "assumed for `{}`: {assumed}", one.change)?;
        }
    }
    Ok(())
}

/// Writes one JSON document; `docs/trace-json.md` says what its keys are.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    write_versioned(answer, out)
}

/// Writes a row a change, and one for all together.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["change", "touched", "step_us", "worth_us"])?;
    for one in &answer.changes {
        let (step, worth) = (one.step_us.to_string(), one.worth_us.to_string());
        writer.write_record([&one.change, &one.touched.to_string(), &step, &worth])?;
    }
    let (step, worth) = (answer.after_us.to_string(), answer.worth_us.to_string());
    writer.write_record(["all together", "", &step, &worth])?;
    writer.flush()
}
