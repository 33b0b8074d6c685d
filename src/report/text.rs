//! What a person reads in a terminal.

use anstyle::{AnsiColor, Style as Ansi};
use std::fmt::Write as _;
use std::io::{self, Write};

mod remedies;

use super::chart::chart;
use super::table::{bar, grouped, percent, table};
use super::{Report, Style, Subject};
use crate::analysis::{StageMemory, Summary};
use crate::spec::{Recompute, Scenario, Schedule};
use crate::units::{Bytes, Seconds};
use crate::work::Axis;

/// What MFU and HFU count.
pub const CONVENTION: &str = "MFU counts the matrix products of forward and backward, the output \
    projection and all attention scores included (Korthikanti et al. 2022), over the dense peak of \
    the linear layers' format; HFU adds what is computed again";

/// Rows of the memory table at most.
const MEMORY_ROWS: usize = 12;
/// Columns of the longest bar.
const BAR_WIDTH: usize = 30;

/// What a person reads in a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl Report for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn write(&self, subject: &Subject, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let summary = subject.summary;
        let sections = [
            title(subject.scenario, style),
            headline(subject.scenario, summary, style),
            times(summary, style),
            communication(summary, style),
            memory(summary, style),
            chart(subject.timeline, style),
            evidence(summary),
            warnings(summary, style),
        ];
        let sections: Vec<String> = sections.into_iter().filter(|it| !it.is_empty()).collect();
        out.write_all(sections.join("\n").as_bytes())
    }
}

/// Text in an ANSI style where colours are wanted.
pub(super) fn paint(text: &str, ansi: Ansi, style: Style) -> String {
    if style.color { format!("{ansi}{text}{ansi:#}") } else { text.to_owned() }
}

/// The heading of a section.
pub(super) fn heading(text: &str, style: Style) -> String {
    format!("{}\n", paint(text, Ansi::new().bold(), style))
}

const RED: Ansi = Ansi::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Ansi = Ansi::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

fn title(scenario: &Scenario, style: Style) -> String {
    let (cluster, training) = (&scenario.cluster, &scenario.training);
    let what = format!(
        "{} on {} x {} ({}), {}",
        scenario.model.name,
        grouped(scenario.world_size() as f64),
        cluster.gpu.name,
        cluster.name,
        scenario.stack.name
    );
    let first = match &scenario.name {
        Some(name) => format!("{}  {what}\n", heading(name, style)),
        None => heading(&what, style),
    };
    let micro_batches = match scenario.micro_batch_count() {
        1 => "1 micro-batch".to_owned(),
        count => format!("{} micro-batches", grouped(count as f64)),
    };
    format!(
        "{first}  {}\n  {}, {micro_batches} of {} x {} tokens on each replica\n",
        plan(scenario),
        training.precision.linear().name(),
        training.micro_batch,
        grouped(training.sequence_length as f64),
    )
}

/// The plan in a line: what is 1 or absent is left out.
fn plan(scenario: &Scenario) -> String {
    let plan = &scenario.plan;
    let mut parts = vec![format!("tp {}", plan.tp)];
    if plan.sequence_parallel {
        parts.push("sequence parallel".to_owned());
    }
    if plan.cp > 1 {
        parts.push(format!("cp {}", plan.cp));
    }
    if plan.ep > 1 {
        parts.push(format!("ep {}", plan.ep));
    }
    parts.push(match (plan.pp, plan.schedule) {
        (1, _) => "pp 1".to_owned(),
        (pp, Schedule::Interleaved) => format!("pp {pp} (interleaved x{})", plan.virtual_stages),
        (pp, schedule) => format!("pp {pp} ({})", schedule.name()),
    });
    parts.push(format!("dp {}", scenario.data_parallel()));
    if plan.zero > 0 {
        parts.push(format!("zero {}", plan.zero));
    }
    let layers = plan.recompute_layers.map_or(String::new(), |count| format!(" on {count} layers"));
    match plan.recompute {
        Recompute::None => {}
        Recompute::Selective => parts.push(format!("selective recompute{layers}")),
        Recompute::Full => parts.push(format!("full recompute{layers}")),
    }
    parts.join(", ")
}

fn headline(scenario: &Scenario, summary: &Summary, style: Style) -> String {
    let mut text = String::new();
    let step = Seconds::new(summary.step_time_s).to_string();
    let [low, high] = summary.step_time_interval_s.map(Seconds::new);
    let rates = [
        (
            "step time",
            format!("{} (80 %: {low} to {high})", paint(&step, Ansi::new().bold(), style)),
        ),
        ("tokens/s/GPU", grouped(summary.tokens_per_s_per_gpu)),
        ("model FLOP/s per GPU", format!("{:.1} TFLOP/s", summary.model_tflops_per_gpu)),
        (
            "MFU / HFU",
            format!(
                "{} / {} of {:.0} TFLOP/s",
                percent(summary.mfu),
                percent(summary.hfu),
                summary.peak_tflops_per_gpu
            ),
        ),
    ];
    for (name, rate) in rates {
        let _ = writeln!(text, "  {name:<22}{rate}");
    }
    for line in wrapped(&format!("({CONVENTION})"), style.width.saturating_sub(2).max(20)) {
        let _ = writeln!(text, "  {}", paint(&line, Ansi::new().dimmed(), style));
    }
    let memory = &summary.memory;
    if !memory.fits {
        let reserved = Bytes::new(memory.peak_reserved_bytes as f64);
        let capacity = Bytes::new(memory.capacity_bytes as f64);
        let sentence =
            format!("DOES NOT FIT: the fullest stage needs {reserved} of {capacity} a GPU");
        let _ = writeln!(text, "  {}", paint(&sentence, RED, style));
        let remedies = remedies::remedies(scenario, summary).unwrap_or_default();
        for line in wrapped(&remedies, style.width.saturating_sub(2).max(20)) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Lines of at most `width` columns, broken between words.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn times(summary: &Summary, style: Style) -> String {
    let mut parts: Vec<(String, f64)> =
        summary.compute.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect();
    parts.sort_by(|left, right| right.1.total_cmp(&left.1));
    parts.push(("optimizer".to_owned(), summary.time.optimizer_s));
    for axis in Axis::ALL.map(Axis::name) {
        let exposed = summary.communication.get(axis).map_or(0.0, |it| it.exposed_s);
        parts.push((format!("exposed {axis}"), exposed));
    }
    parts.push(("bubble".to_owned(), summary.time.bubble_s));
    parts.push(("host-bound".to_owned(), summary.time.host_bound_s));
    parts.push(("other".to_owned(), summary.time.other_s));
    // What rounds to nothing would only be noise.
    parts.retain(|(_, time)| *time >= 0.0005 * summary.step_time_s && *time > 0.0);
    let longest = parts.iter().map(|part| part.1).fold(f64::MIN_POSITIVE, f64::max);
    let first = format!("Where the time goes, on the critical stage ({})", summary.critical_stage);
    let mut text = heading(&first, style);
    for (name, time) in parts {
        let _ = writeln!(
            text,
            "  {name:<14}{:>11}{:>9}  {}",
            Seconds::new(time).to_string(),
            percent(time / summary.step_time_s),
            bar(time / longest, BAR_WIDTH)
        );
    }
    text
}

fn communication(summary: &Summary, style: Style) -> String {
    let rows: Vec<Vec<String>> = Axis::ALL
        .into_iter()
        .filter_map(|axis| summary.communication.get_key_value(axis.name()))
        .filter(|(_, communication)| communication.total_s > 0.0)
        .map(|(axis, communication)| {
            let hidden = 1.0 - communication.exposed_s / communication.total_s;
            vec![
                (*axis).to_owned(),
                Seconds::new(communication.total_s).to_string(),
                Seconds::new(communication.exposed_s).to_string(),
                format!("{:.0} %", 100.0 * hidden.clamp(0.0, 1.0)),
                Bytes::new(communication.bytes).to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["", "total", "exposed", "hidden", "bytes"];
    heading("Communication of one of its ranks", style) + &table(&header, &rows, 2)
}

fn memory(summary: &Summary, style: Style) -> String {
    let memory = &summary.memory;
    let capacity = Bytes::new(memory.capacity_bytes as f64);
    let fits = |stage: &StageMemory| stage.peak_reserved <= capacity;
    let mut rows: Vec<(u64, u64, bool, Vec<String>)> = Vec::new();
    for stage in &memory.stages {
        let mut cells: Vec<String> = [
            stage.peak_reserved,
            stage.peak,
            stage.weights,
            stage.gradients,
            stage.optimizer,
            stage.activations,
            stage.buffers,
            stage.overhead,
        ]
        .map(gibibytes)
        .into();
        cells.push(if fits(stage) { "" } else { "does not fit" }.to_owned());
        match rows.last_mut() {
            Some(last) if last.3 == cells => last.1 = stage.stage,
            _ => rows.push((stage.stage, stage.stage, fits(stage), cells)),
        }
    }
    let row_count = rows.len();
    let kept = sample(row_count, MEMORY_ROWS);
    let cells: Vec<Vec<String>> = kept
        .iter()
        .map(|&index| {
            let (from, to, _, cells) = &rows[index];
            let stage = if from == to { from.to_string() } else { format!("{from}-{to}") };
            std::iter::once(stage).chain(cells.iter().cloned()).collect()
        })
        .collect();
    let header = [
        "stage", "reserved", "peak", "weights", "grads", "optim.", "activ.", "buffers", "overhead",
        "",
    ];
    let more = match row_count - kept.len() {
        0 => String::new(),
        more => format!(", {more} more stages between these"),
    };
    let first = format!("Memory by stage in GiB, of {} GiB{more}", gibibytes(capacity));
    let lines = table(&header, &cells, 2);
    let bad = |line: &str| line.ends_with("does not fit");
    let painted = lines.lines().map(|line| match bad(line) {
        true => paint(line, RED, style) + "\n",
        false => format!("{line}\n"),
    });
    heading(&first, style) + &painted.collect::<String>()
}

fn gibibytes(bytes: Bytes) -> String {
    format!("{:.2}", bytes.value() / 1024f64.powi(3))
}

/// At most `most` of the indices below `count`, spread evenly, the first and the last among them.
pub(super) fn sample(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|index| index * (count - 1) / (most - 1)).collect()
}

fn evidence(summary: &Summary) -> String {
    let evidence = &summary.evidence;
    let scaled = if evidence.scaled_fraction > 0.0 {
        format!(" fits of other GPUs {},", percent(evidence.scaled_fraction))
    } else {
        String::new()
    };
    format!(
        "Rests on: measurements {}, fits to measurements {},{scaled} rooflines and closed forms \
         {}\n",
        percent(evidence.measured_fraction),
        percent(evidence.fitted_fraction),
        percent(evidence.roofline_fraction)
    )
}

fn warnings(summary: &Summary, style: Style) -> String {
    let line = |text: &String| format!("{}: {text}\n", paint("warning", YELLOW, style));
    summary.warnings.iter().map(line).collect()
}
