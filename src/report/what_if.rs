//! What changes would do to a recorded step.

use std::io::{self, Write};

use super::json::write_versioned;
use super::table::{percent, table};
use crate::analysis::{Answer, Bottleneck, InterferenceUsed};

/// Share of a step from which on it is told what late starts make of an answer.
const PUNCTUAL_LEAST: f64 = 0.002;

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
    let apart_us = (answer.worth_if_punctual_us - answer.worth_us).abs();
    if apart_us > PUNCTUAL_LEAST * answer.before_us {
        writeln!(
            out,
            "starts that nothing explains stay as late as they were; {:.0} us are saved if they do \
             not\n",
            answer.worth_if_punctual_us
        )?;
    }
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
    write_interference(&answer.interference, out)?;
    for one in &answer.changes {
        if let Some(assumed) = one.assumed {
            writeln!(out, "assumed for `{}`: {assumed}", one.change)?;
        }
    }
    write_prices(answer, out)
}

/// How kernels were priced on another GPU.
fn write_prices(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    for one in &answer.changes {
        if let Some(priced) = one.priced {
            writeln!(
                out,
                "priced for `{}`: {} kernels ({} of the devices' time) by their operators' shapes, {} \
                 ({}) by kernels that take as long, {} ({}) communicate and stay",
                one.change,
                priced.by_shape_count,
                percent(priced.by_shape_fraction),
                priced.by_time_count,
                percent(priced.by_time_fraction),
                priced.unchanged_count,
                percent(priced.unchanged_fraction),
            )?;
        }
    }
    Ok(())
}

fn write_interference(used: &InterferenceUsed, out: &mut dyn Write) -> io::Result<()> {
    if !used.factors.is_empty() {
        writeln!(
            out,
            "kernels that edits move beside communication, or away from it, as recorded:"
        )?;
    }
    for it in &used.factors {
        let measured_on =
            if it.measured_on == it.class { "" } else { "; measured on all that memory bounds" };
        let unclear = match it.beside_count - it.told_count {
            0 => String::new(),
            unclear => format!(", {unclear} of them perhaps persistent"),
        };
        writeln!(
            out,
            "  {}: {:.3} times as long (quartiles {:.2} and {:.2}; from {} kernels \
             beside{unclear}, and {} alone{measured_on})",
            it.class, it.factor, it.factor_p25, it.factor_p75, it.beside_count, it.alone_count
        )?;
    }
    if !used.untold.is_empty() {
        writeln!(out, "not slowed beside communication, since the recording does not tell:")?;
    }
    for it in &used.untold {
        let share = percent(it.time_fraction);
        writeln!(out, "  {} ({share} of kernels' time): {}", it.class, it.why)?;
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
