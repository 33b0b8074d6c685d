//! A header and a row, for spreadsheets.

use ::csv::Writer;
use std::io::{self, Write};

use super::{Report, Style, Subject};
use crate::work::Axis;

/// A header and a row.
#[derive(Clone, Copy, Debug)]
pub struct Csv;

impl Report for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn write(&self, subject: &Subject, _: Style, out: &mut dyn Write) -> io::Result<()> {
        let columns = columns(subject);
        let mut writer = Writer::from_writer(out);
        writer.write_record(columns.iter().map(|column| &column.0))?;
        writer.write_record(columns.iter().map(|column| &column.1))?;
        writer.flush()
    }
}

/// Header and cell of each column.
fn columns(subject: &Subject) -> Vec<(String, String)> {
    let mut columns: Vec<(String, String)> =
        question(subject).into_iter().map(|(header, cell)| (header.to_owned(), cell)).collect();
    let summary = subject.summary;
    let (time, memory) = (&summary.time, &summary.memory);
    for (header, number) in [
        ("step_time_s", summary.step_time_s),
        ("step_time_low_s", summary.step_time_interval_s[0]),
        ("step_time_high_s", summary.step_time_interval_s[1]),
        ("tokens_per_s_per_gpu", summary.tokens_per_s_per_gpu),
        ("model_tflops_per_gpu", summary.model_tflops_per_gpu),
        ("mfu", summary.mfu),
        ("hfu", summary.hfu),
        ("compute_s", time.compute_s),
        ("exposed_communication_s", time.exposed_communication_s),
        ("bubble_s", time.bubble_s),
        ("host_bound_s", time.host_bound_s),
        ("optimizer_s", time.optimizer_s),
        ("other_s", time.other_s),
    ] {
        columns.push((header.to_owned(), number.to_string()));
    }
    for axis in Axis::ALL.map(Axis::name) {
        let communication = summary.communication.get(axis).copied().unwrap_or_default();
        columns.push((format!("{axis}_total_s"), communication.total_s.to_string()));
        columns.push((format!("{axis}_exposed_s"), communication.exposed_s.to_string()));
        columns.push((format!("{axis}_bytes"), communication.bytes.to_string()));
    }
    columns.push(("capacity_bytes".to_owned(), memory.capacity_bytes.to_string()));
    columns.push(("peak_bytes".to_owned(), memory.peak_bytes.to_string()));
    columns.push(("peak_reserved_bytes".to_owned(), memory.peak_reserved_bytes.to_string()));
    columns.push(("fits".to_owned(), memory.fits.to_string()));
    columns
}

/// The columns that say what was asked.
fn question(subject: &Subject) -> [(&'static str, String); 15] {
    let scenario = subject.scenario;
    let (plan, training) = (&scenario.plan, &scenario.training);
    [
        ("name", scenario.name.clone().unwrap_or_default()),
        ("model", scenario.model.name.clone()),
        ("cluster", scenario.cluster.name.clone()),
        ("gpu", scenario.cluster.gpu.name.clone()),
        ("stack", scenario.stack.name.clone()),
        ("gpu_count", scenario.world_size().to_string()),
        ("tp", plan.tp.to_string()),
        ("pp", plan.pp.to_string()),
        ("cp", plan.cp.to_string()),
        ("ep", plan.ep.to_string()),
        ("dp", scenario.data_parallel().to_string()),
        ("virtual_stages", plan.virtual_stages.to_string()),
        ("sequence_length", training.sequence_length.to_string()),
        ("micro_batch", training.micro_batch.to_string()),
        ("global_batch", training.global_batch.to_string()),
    ]
}
