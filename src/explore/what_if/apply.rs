//! Edits applied to a prepared recording.

mod collectives;
mod fuse;
mod gpu;
mod host;
mod kernels;

pub(in crate::explore) use host::remove_between;

use super::{Change, Selection};
use crate::analysis::PricedKernels;
use crate::replay::Prepared;
use crate::spec::DataSources;

/// What an edit touched.
#[derive(Clone, Debug, PartialEq)]
pub struct Touched {
    /// Kernels, calls or stretches of host time.
    pub count: u64,
    /// What was assumed.
    pub assumed: Option<&'static str>,
    /// How kernels were priced on another GPU; `None` for all other edits.
    pub priced: Option<PricedKernels>,
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
    let mut priced = None;
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
        Change::FuseKernels { select, time, saves_traffic } => {
            let selected = kernels::selected(prepared, select);
            let gone = fuse::fuse(prepared, &selected, *time, *saves_traffic);
            kernels::remove(prepared, &gone);
            (gone.len() as u64, Some(if *saves_traffic { fuse::SAVED } else { fuse::KEPT }))
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
        Change::Gpu { name, from } => {
            let touched = gpu::swap(prepared, sources, name, from.as_deref())?;
            priced = touched.priced;
            (touched.count, touched.assumed)
        }
    };
    if count == 0 {
        return Err("it selects nothing in this recording".to_owned());
    }
    Ok(Touched { count, assumed, priced })
}
