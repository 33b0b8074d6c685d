//! The pipeline as text: a row a stage, time from left to right.

use anstyle::{AnsiColor, Style as Ansi};
use std::collections::BTreeMap;

use super::Style;
use super::text::{heading, paint, sample, wrapped};
use crate::timeline::{Lane, Span, Task, Timeline};
use crate::units::{Instant, Seconds};
use crate::work::{Class, Pass};

/// Rows at most; of more stages some are shown.
const MOST_ROWS: usize = 16;
/// Columns that a forward needs to be told apart from its neighbours.
const LEAST_COLUMNS_A_FORWARD: f64 = 1.3;
/// Columns a forward gets where only the two ends of the step are shown.
const ZOOMED_COLUMNS_A_FORWARD: f64 = 2.0;
/// What the cells mean.
const LEGEND: &str = "0-9 forward, A-J backward, by last digit of the micro-batch; * optimizer, \
    + other compute, - communication alone, . idle";
/// Between the two ends.
const CUT: &str = " ~ ";

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Forward(u8),
    Backward(u8),
    Optimizer,
    Compute,
    Communication,
    Idle,
}

impl Mark {
    fn of(span: &Span) -> Self {
        let digit = |task: Task| (task.micro_batch % 10) as u8;
        match span.task {
            Some(task) if task.pass == Pass::Forward => Self::Forward(digit(task)),
            Some(task) => Self::Backward(digit(task)),
            None if span.class == Class::Optimizer => Self::Optimizer,
            None => Self::Compute,
        }
    }

    fn glyph(self) -> char {
        match self {
            Self::Forward(digit) => char::from(b'0' + digit),
            Self::Backward(digit) => char::from(b'A' + digit),
            Self::Optimizer => '*',
            Self::Compute => '+',
            Self::Communication => '-',
            Self::Idle => '.',
        }
    }

    fn ansi(self) -> Ansi {
        let color = |color: AnsiColor| Ansi::new().fg_color(Some(color.into()));
        match self {
            Self::Forward(_) => color(AnsiColor::Blue),
            Self::Backward(_) => color(AnsiColor::Green),
            Self::Optimizer | Self::Compute => color(AnsiColor::Yellow),
            Self::Communication => color(AnsiColor::Red),
            Self::Idle => Ansi::new().dimmed(),
        }
    }
}

/// A stretch of time and the columns that show it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    from: u64,
    to: u64,
    columns: usize,
}

/// The chart with its heading and legend; empty where no span belongs to a micro-batch.
pub(super) fn chart(timeline: &Timeline, style: Style) -> String {
    if !timeline.spans.iter().any(|span| span.lane == Lane::Compute && span.task.is_some()) {
        return String::new();
    }
    let rows = rows(timeline);
    let label_width = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
    let columns = style.width.clamp(40, 200) - label_width - 3;
    let windows = windows(timeline, &rows, columns);
    let marks = marks(timeline, &rows, &windows);
    let whole = if windows.len() == 1 { "" } else { ", its beginning and its end" };
    let mut text = heading(&format!("The step on each stage{whole}"), style);
    for ((_, label), cells) in rows.iter().zip(&marks) {
        let ends: Vec<String> = cells.iter().map(|cells| line(cells, style)).collect();
        text.push_str(&format!("  {label:>label_width$} {}\n", ends.join(CUT)));
    }
    let axes: Vec<String> = windows.iter().map(axis).collect();
    text.push_str(&format!("  {:label_width$} {}\n", "", axes.join(CUT)));
    for line in wrapped(LEGEND, style.width.clamp(40, 200) - 2) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// The processes shown, the first of each stage, with their labels.
fn rows(timeline: &Timeline) -> Vec<(u32, String)> {
    let mut first: BTreeMap<(bool, u64), u32> = BTreeMap::new();
    for (index, process) in (0..).zip(&timeline.processes) {
        let key = (process.stage.is_none(), process.stage.unwrap_or(process.rank));
        first.entry(key).or_insert(index);
    }
    let label = |(no_stage, number): (bool, u64)| match no_stage {
        true => format!("rank {number}"),
        false => format!("stage {number}"),
    };
    let all: Vec<_> = first.into_iter().map(|(key, index)| (index, label(key))).collect();
    sample(all.len(), MOST_ROWS).into_iter().map(|index| all[index].clone()).collect()
}

/// The whole step where its forwards can be told apart, else its two ends.
fn windows(timeline: &Timeline, rows: &[(u32, String)], columns: usize) -> Vec<Window> {
    let end = timeline.end().ps();
    let whole = vec![Window { from: 0, to: end, columns }];
    let mut forwards: BTreeMap<(u32, Task), (u64, u64)> = BTreeMap::new();
    let mut first_start: BTreeMap<u32, u64> = BTreeMap::new();
    let shown = |span: &&Span| rows.iter().any(|row| row.0 == span.process);
    for span in timeline.spans.iter().filter(|span| span.lane == Lane::Compute).filter(shown) {
        let (start, end) = (span.start.ps(), span.end.ps());
        first_start.entry(span.process).and_modify(|it| *it = start.min(*it)).or_insert(start);
        if let Some(task) = span.task.filter(|task| task.pass == Pass::Forward) {
            let entry = forwards.entry((span.process, task)).or_insert((start, end));
            *entry = (entry.0.min(start), entry.1.max(end));
        }
    }
    let mut lengths: Vec<u64> = forwards.values().map(|(from, to)| to - from).collect();
    lengths.sort_unstable();
    let Some(&median) = lengths.get(lengths.len() / 2) else { return whole };
    let warm_up = first_start.values().max().copied().unwrap_or(0);
    if columns as f64 * median as f64 >= LEAST_COLUMNS_A_FORWARD * end as f64 {
        return whole;
    }
    let half = (columns - CUT.len()) / 2;
    // The warm-up must be seen whole, with a little of what follows.
    let column_ps =
        (median as f64 / ZOOMED_COLUMNS_A_FORWARD).max(1.5 * warm_up as f64 / half as f64);
    let length = (column_ps * half as f64) as u64;
    if length == 0 || length.saturating_mul(2) >= end {
        return whole;
    }
    let window = |from, to| Window { from, to, columns: half };
    vec![window(0, length), window(end - length, end)]
}

/// What each cell shows: `[row][window][column]`.
fn marks(timeline: &Timeline, rows: &[(u32, String)], windows: &[Window]) -> Vec<Vec<Vec<Mark>>> {
    let empty: Vec<Vec<Cell>> =
        windows.iter().map(|window| vec![Cell::default(); window.columns]).collect();
    let mut cells = vec![empty; rows.len()];
    let row_of: BTreeMap<u32, usize> = rows.iter().map(|row| row.0).zip(0..).collect();
    for span in &timeline.spans {
        let Some(&row) = row_of.get(&span.process) else { continue };
        let mark = match span.lane {
            Lane::Host | Lane::Thread(_) => continue,
            Lane::Compute | Lane::Stream(_) => Mark::of(span),
            Lane::Communication(..) => Mark::Communication,
        };
        for (window, cells) in windows.iter().zip(&mut cells[row]) {
            window.fill(span, mark, cells);
        }
    }
    let shown = |window: &Window, cells: &Vec<Cell>| {
        cells.iter().map(|cell| cell.mark(window.column_ps())).collect()
    };
    let row = |cells: &Vec<Vec<Cell>>| {
        windows.iter().zip(cells).map(|(window, cells)| shown(window, cells)).collect()
    };
    cells.iter().map(row).collect()
}

impl Window {
    fn column_ps(&self) -> f64 {
        ((self.to - self.from) as f64 / self.columns as f64).max(f64::MIN_POSITIVE)
    }

    /// Adds a span's time to the cells that it runs through.
    fn fill(&self, span: &Span, mark: Mark, cells: &mut [Cell]) {
        let (start, end) = (span.start.ps().max(self.from), span.end.ps().min(self.to));
        if start >= end {
            return;
        }
        let width = self.column_ps();
        let (start, end) = ((start - self.from) as f64, (end - self.from) as f64);
        let (first, last) = ((start / width) as usize, (end / width).ceil() as usize);
        for (column, cell) in cells.iter_mut().enumerate().take(last).skip(first) {
            let from = start.max(column as f64 * width);
            let to = end.min((column + 1) as f64 * width);
            cell.add(mark, (to - from).max(0.0));
        }
    }
}

/// Time in a cell by what it was spent on.
#[derive(Clone, Debug, Default)]
struct Cell {
    times: Vec<(Mark, f64)>,
}

impl Cell {
    fn add(&mut self, mark: Mark, time: f64) {
        match self.times.iter_mut().find(|entry| entry.0 == mark) {
            Some(entry) => entry.1 += time,
            None => self.times.push((mark, time)),
        }
    }

    /// Compute where it fills half of the cell, else communication where that does.
    fn mark(&self, width: f64) -> Mark {
        let is_compute = |mark: Mark| mark != Mark::Communication;
        let sum = |compute: bool| -> f64 {
            let kind = self.times.iter().filter(|entry| is_compute(entry.0) == compute);
            kind.map(|entry| entry.1).sum()
        };
        // A little less than half, so that rounding never blanks a cell that is half full.
        let enough = 0.4999 * width;
        if sum(true) >= enough {
            let compute = self.times.iter().filter(|entry| is_compute(entry.0));
            let longest = compute.max_by(|left, right| left.1.total_cmp(&right.1));
            return longest.map_or(Mark::Idle, |entry| entry.0);
        }
        if sum(false) >= enough { Mark::Communication } else { Mark::Idle }
    }
}

fn line(marks: &[Mark], style: Style) -> String {
    marks
        .chunk_by(|left, right| left.ansi() == right.ansi())
        .map(|run| {
            let text: String = run.iter().map(|mark| mark.glyph()).collect();
            paint(&text, run[0].ansi(), style)
        })
        .collect()
}

/// First and last moment of a window under its ends.
fn axis(window: &Window) -> String {
    let moment = |ps: u64| -> String {
        let time: Seconds = Instant::from_ps(ps).seconds();
        if ps == 0 { "0".to_owned() } else { time.to_string() }
    };
    let (from, to) = (moment(window.from), moment(window.to));
    let blanks = window.columns.saturating_sub(from.len() + to.len());
    format!("{from}{}{to}", " ".repeat(blanks))
}
