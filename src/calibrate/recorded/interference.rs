//! The same kernels with and without communication beside them.

use serde::Serialize;
use std::collections::BTreeMap;

use super::operators::Operators;
use super::{is_kernel, quantile, time_us};
use crate::timeline::SpanId;
use crate::trace::Recording;
use crate::units::Instant;
use crate::work::Class;

/// A kernel is beside communication when this much of it is, and alone when almost none is.
const BESIDE_FRACTION: f64 = 0.9;
const ALONE_FRACTION: f64 = 0.02;
/// Times on each side that a median is taken of.
const TIMES_MIN: usize = 2;

/// Kernels whose times alone differ by more than this (ninth tenth to first) do different work
/// under one name, so nothing is to be compared.
const MIXED_RATIO: f64 = 1.3;

/// How much slower kernels of a class are beside communication.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interference {
    /// Class of the kernels; `memory_bound` for all that are no products and no attention.
    pub class: String,
    /// Ratio of medians, weighted by time without communication.
    pub factor: f64,
    /// Kinds of kernels that were compared: of one name, in one operator with one shape.
    pub kind_count: u64,
    /// Kernels beside communication.
    pub beside_count: u64,
    /// Kernels alone.
    pub alone_count: u64,
}

/// By span, which share of a kernel communication runs beside it on its device. Where a collective
/// was matched over ranks, its data moves only after the last member has arrived.
pub(super) fn beside(recording: &Recording) -> Vec<f64> {
    let spans = &recording.timeline.spans;
    let mut moving: BTreeMap<u32, Vec<(Instant, Instant)>> = BTreeMap::new();
    for span in spans.iter().filter(|span| is_kernel(span)) {
        if matches!(span.class, Class::Communication(_)) {
            moving.entry(span.process).or_default().push((span.start, span.end));
        }
    }
    for intervals in moving.values_mut() {
        intervals.sort_unstable();
        let mut merged: Vec<(Instant, Instant)> = Vec::new();
        for &(start, end) in &*intervals {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        *intervals = merged;
    }
    let share = |span: &crate::timeline::Span| -> f64 {
        let Some(intervals) = moving.get(&span.process) else { return 0.0 };
        let length = span.end.ps().saturating_sub(span.start.ps());
        let from = intervals.partition_point(|interval| interval.1 <= span.start);
        let inside = intervals[from..].iter().take_while(|interval| interval.0 < span.end);
        let covered: u64 = inside
            .map(|interval| {
                interval.1.min(span.end).ps().saturating_sub(interval.0.max(span.start).ps())
            })
            .sum();
        if length == 0 { 0.0 } else { covered as f64 / length as f64 }
    };
    let is_compute = |span: &&crate::timeline::Span| {
        is_kernel(span) && !matches!(span.class, Class::Communication(_))
    };
    spans.iter().map(|span| if is_compute(&span) { share(span) } else { 0.0 }).collect()
}

/// Times of one kind of kernel.
#[derive(Default)]
struct Times {
    alone: Vec<f64>,
    beside: Vec<f64>,
}

/// Factors by class, and of all that memory bounds.
pub(super) fn factors(
    recording: &Recording,
    operators: &Operators<'_>,
    beside: &[f64],
) -> Vec<Interference> {
    let mut kinds: BTreeMap<(Class, u32, String), Times> = BTreeMap::new();
    for (index, span) in recording.timeline.spans.iter().enumerate() {
        if !is_kernel(span) || matches!(span.class, Class::Communication(_)) {
            continue;
        }
        // Kernels of one name do different work where the shapes of their operators differ.
        let id = SpanId(index as u32);
        let shapes = operators.around(id).find_map(|(frame, _)| operators.arguments(frame));
        let shapes = shapes.map(|arguments| format!("{:?}", arguments.shapes)).unwrap_or_default();
        let operator = operators.around(id).next().map_or("", |(_, name)| name);
        let kind = format!("{}\n{operator}\n{shapes}", recording.name(id));
        let key = (span.class, span.process, kind);
        let times = kinds.entry(key).or_default();
        if beside[index] >= BESIDE_FRACTION {
            times.beside.push(time_us(span));
        } else if beside[index] <= ALONE_FRACTION {
            times.alone.push(time_us(span));
        }
    }
    let mut found: BTreeMap<String, (f64, f64, Interference)> = BTreeMap::new();
    for ((class, _, _), mut times) in kinds {
        if times.alone.len().min(times.beside.len()) < TIMES_MIN {
            continue;
        }
        let (Some(alone), Some(with)) =
            (quantile(&mut times.alone, 0.5), quantile(&mut times.beside, 0.5))
        else {
            continue;
        };
        let edge = |times: &mut Times, share| quantile(&mut times.alone, share).unwrap_or(0.0);
        if edge(&mut times, 0.9) > MIXED_RATIO * edge(&mut times, 0.1) {
            continue;
        }
        let is_bound_by_memory = !matches!(class, Class::Gemm | Class::Attention);
        let names = [Some(class.name()), is_bound_by_memory.then_some("memory_bound")];
        for name in names.into_iter().flatten() {
            let weight = times.beside.len() as f64;
            let entry = found.entry(name.to_owned()).or_insert_with(|| {
                let class = name.to_owned();
                let (kind_count, beside_count, alone_count) = (0, 0, 0);
                (
                    0.0,
                    0.0,
                    Interference { class, factor: 1.0, kind_count, beside_count, alone_count },
                )
            });
            entry.0 += weight * with;
            entry.1 += weight * alone;
            entry.2.kind_count += 1;
            entry.2.beside_count += times.beside.len() as u64;
            entry.2.alone_count += times.alone.len() as u64;
        }
    }
    let factor = |(with, alone, mut found): (f64, f64, Interference)| {
        found.factor = if alone > 0.0 { with / alone } else { 1.0 };
        found
    };
    found.into_values().map(factor).collect()
}
