//! Another GPU in place of the recorded one.

use super::Touched;
use crate::analysis::PricedKernels;
use crate::calibrate::ShapedKernels;
use crate::explore::what_if::GpuSwap;
use crate::replay::Prepared;
use crate::spec::DataSources;
use crate::work::Class;

/// What is assumed.
const ASSUMED: &str = "kernels whose shapes are not known are as those of their class that take \
                       as long on the recorded GPU; links and host stay";

/// Scales the time of each kernel by the ratio of its prices on both GPUs.
pub(super) fn swap(
    prepared: &mut Prepared<'_>,
    sources: &DataSources,
    to: &str,
    from: Option<&str>,
) -> Result<Touched, String> {
    let recording = prepared.recording;
    let recorded = recording.sources.iter().find_map(|it| it.device_name.as_deref());
    let from = from.or(recorded).ok_or_else(|| {
        "the recording does not name its GPU; say which it is by from=NAME".to_owned()
    })?;
    let mut swap = GpuSwap::new(sources, from, to)?;
    let shaped = ShapedKernels::of(recording);
    let mut priced = PricedKernels::default();
    let mut all = 0.0;
    for (work, span) in prepared.work_span.iter().enumerate() {
        let Some(id) = *span else { continue };
        let span = &recording.timeline.spans[id.0 as usize];
        let cost = &mut prepared.costs.works[work];
        let time = cost.time.value();
        all += time;
        let (factor, count, share) = if matches!(span.class, Class::Communication(_)) {
            (1.0, &mut priced.unchanged_count, &mut priced.unchanged_fraction)
        } else if let Some(factor) = swap.factor_of_nearest(&shaped.kernels(id), cost.time) {
            (factor, &mut priced.by_shape_count, &mut priced.by_shape_fraction)
        } else {
            let factor = swap.factor(span.class, recording.name(id), cost.time);
            (factor, &mut priced.by_time_count, &mut priced.by_time_fraction)
        };
        *count += 1;
        *share += time;
        cost.time = cost.time * factor;
    }
    if all > 0.0 {
        priced.by_shape_fraction /= all;
        priced.by_time_fraction /= all;
        priced.unchanged_fraction /= all;
    }
    let count = priced.by_shape_count + priced.by_time_count;
    Ok(Touched { count, assumed: Some(ASSUMED), priced: Some(priced) })
}
