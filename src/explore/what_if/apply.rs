//! Edits applied to a prepared recording.

mod collectives;
mod host;
mod kernels;

pub(in crate::explore) use host::remove_between;

use super::{Change, GpuSwap, Selection};
use crate::replay::Prepared;
use crate::spec::DataSources;
use crate::timeline::SpanId;

/// What an edit touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Kernels, calls or stretches of host time.
    pub count: u64,
    /// What was assumed.
    pub assumed: Option<&'static str>,
}

/// Applies an edit.
///
/// # Errors
///
/// When it selects nothing, or asks for what the recording or the data files do not say.
pub fn apply(
    prepared: &mut Prepared<'_>,
    change: &Change,
    sources: &DataSources,
) -> Result<Touched, String> {
    let (count, assumed) = match change {
        Change::ScaleKernels { select, time } => {
            let selected = kernels::selected(prepared, select);
            for &work in &selected {
                let cost = &mut prepared.costs.works[work as usize];
                cost.time = cost.time * *time;
            }
            (selected.len() as u64, None)
        }
        Change::RemoveKernels { select } => {
            let selected = kernels::selected(prepared, select);
            kernels::remove(prepared, &selected);
            (selected.len() as u64, None)
        }
        Change::FuseKernels { select, time } => {
            let selected = kernels::selected(prepared, select);
            let gone = kernels::fuse(prepared, &selected, *time);
            kernels::remove(prepared, &gone);
            (gone.len() as u64, Some("neighbours on a stream can be fused whatever they compute"))
        }
        Change::RemoveSync { select } => {
            (host::remove_waits(prepared, &Selection::of(prepared.recording, select)), None)
        }
        Change::RemoveHost { select } => (host::scale(prepared, select, 0.0), None),
        Change::ScaleHost { select, time } => (host::scale(prepared, select, *time), None),
        Change::Graph { select } => (
            host::graph(prepared, &Selection::of(prepared.recording, select)),
            Some(
                "time between launches inside of operators is the launches' own and goes with them",
            ),
        ),
        Change::ScaleNetwork { select, bandwidth, latency } => (
            collectives::scale(prepared, select, |_| Ok((1.0 / bandwidth, *latency)))?,
            Some(collectives::LATENCY),
        ),
        Change::DataParallel { select, ranks } => (
            collectives::data_parallel(prepared, select, *ranks)?,
            Some("rings: 2(n-1)/n of the bytes and n-1 hops; the work of each rank stays"),
        ),
        Change::Overlap { select, until } => (
            collectives::overlap(prepared, select, until.as_ref()),
            Some("nothing needs the result before the end of the step, or the kernels of `until`"),
        ),
        Change::Gpu { name, from } => (
            swap(prepared, sources, name, from.as_deref())?,
            Some("shapes are those that take as long on the recorded GPU; links and host stay"),
        ),
    };
    if count == 0 {
        return Err("it selects nothing in this recording".to_owned());
    }
    Ok(Touched { count, assumed })
}

fn swap(
    prepared: &mut Prepared<'_>,
    sources: &DataSources,
    to: &str,
    from: Option<&str>,
) -> Result<u64, String> {
    let recorded = prepared.recording.sources.iter().find_map(|it| it.device_name.as_deref());
    let from = from.or(recorded).ok_or_else(|| {
        "the recording does not name its GPU; say which it is by from=NAME".to_owned()
    })?;
    let mut swap = GpuSwap::new(sources, from, to)?;
    let mut count = 0;
    for (work, span) in prepared.work_span.iter().enumerate() {
        let Some(SpanId(span)) = *span else { continue };
        let span = &prepared.recording.timeline.spans[span as usize];
        let name = prepared.recording.timeline.labels.name(span.label);
        let cost = &mut prepared.costs.works[work];
        cost.time = cost.time * swap.factor(span.class, name, cost.time);
        count += 1;
    }
    Ok(count)
}
