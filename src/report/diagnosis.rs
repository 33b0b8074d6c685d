//! What slows a recorded step down.

use std::io::{self, Write};

use super::json::write_versioned;
use super::table::percent;
use crate::analysis::Diagnosis;

/// Writes it for people, the dearest cause first.
///
/// # Errors
///
/// When the writer fails.
pub fn write_text(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "step: {:.0} us recorded, {:.0} us replayed; {} of the time starts without a known cause\n",
        diagnosis.measured_us,
        diagnosis.replayed_us,
        percent(diagnosis.unexplained_fraction)
    )?;
    if diagnosis.hypotheses.is_empty() {
        return writeln!(out, "nothing found that takes more than 0.5 % of a step");
    }
    for (number, one) in (1..).zip(&diagnosis.hypotheses) {
        let worth = match (one.worth_us, one.worth_fraction) {
            (Some(us), Some(share)) => format!("worth {us:.0} us a step ({})", percent(share)),
            _ => "worth not known".to_owned(),
        };
        writeln!(out, "{number}. {}: {worth}", one.cause.name())?;
        writeln!(out, "   {}", one.what)?;
        writeln!(out, "   found: {:.0} us a step ({})", one.found_us, percent(one.found_fraction))?;
        for clue in &one.evidence {
            let place = clue.place.as_ref().map_or(String::new(), |place| format!(", {place}"));
            writeln!(
                out,
                "   - rank {} at {:.0} us for {:.0} us: {}{place}",
                clue.rank, clue.start_us, clue.duration_us, clue.what
            )?;
        }
        if let Some(change) = &one.change {
            writeln!(out, "   what if: --change \"{change}\"")?;
        }
        writeln!(out, "   try: {}\n", one.experiment)?;
    }
    Ok(())
}

/// Writes one JSON document; `docs/trace-json.md` says what its keys are.
///
/// # Errors
///
/// When the writer fails.
pub fn write_json(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    write_versioned(diagnosis, out)
}

/// Writes a row a hypothesis.
///
/// # Errors
///
/// When the writer fails.
pub fn write_csv(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["cause", "what", "found_us", "worth_us", "change", "experiment"])?;
    for one in &diagnosis.hypotheses {
        let worth = one.worth_us.map_or(String::new(), |worth| worth.to_string());
        let change = one.change.as_deref().unwrap_or("");
        let found = one.found_us.to_string();
        writer.write_record([
            one.cause.name(),
            &one.what,
            &found,
            &worth,
            change,
            &one.experiment,
        ])?;
    }
    writer.flush()
}
