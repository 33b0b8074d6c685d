//! What launching costs the host.

use serde::Serialize;
use std::collections::BTreeMap;

use super::quantile;
use crate::timeline::{Call, Lane, Span};
use crate::trace::Recording;

/// Pauses of a thread longer than this are not the cost of dispatching one kernel.
const PAUSE_US: f64 = 1000.0;

/// Distribution of what launches cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LaunchCosts {
    /// How many launches.
    pub count: u64,
    /// Median duration of the call.
    pub call_us: f64,
    /// A tenth are shorter.
    pub call_p10_us: f64,
    /// A tenth are longer.
    pub call_p90_us: f64,
    /// Median from the start of a launch to that of the next one on its thread, where the thread
    /// did not synchronise, allocate or pause between: what dispatching a kernel costs in all.
    pub between_us: Option<f64>,
}

/// Over all threads; `None` without launches.
pub(super) fn launch_costs(recording: &Recording) -> Option<LaunchCosts> {
    let mut threads: BTreeMap<(u32, u32), Vec<&Span>> = BTreeMap::new();
    for span in &recording.timeline.spans {
        if let (Lane::Thread(thread), Some(_)) = (span.lane, span.call) {
            threads.entry((span.process, thread)).or_default().push(span);
        }
    }
    let (mut calls, mut between) = (Vec::new(), Vec::new());
    for calls_of in threads.values() {
        let mut last: Option<&Span> = None;
        for &span in calls_of {
            match span.call {
                Some(Call::Launch) => {
                    calls.push(super::time_us(span));
                    let since = last.map(|last| span.start.since(last.start).value() * 1e6);
                    between.extend(since.filter(|&since| since <= PAUSE_US));
                    last = Some(span);
                }
                Some(Call::RecordEvent | Call::WaitEvent | Call::Other) | None => {}
                // Waits and copies between launches are no dispatch.
                Some(_) => last = None,
            }
        }
    }
    Some(LaunchCosts {
        count: calls.len() as u64,
        call_us: quantile(&mut calls, 0.5)?,
        call_p10_us: quantile(&mut calls, 0.1)?,
        call_p90_us: quantile(&mut calls, 0.9)?,
        between_us: quantile(&mut between, 0.5),
    })
}
