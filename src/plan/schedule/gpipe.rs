//! GPipe.

use super::{PipelineSchedule, PipelineShape};
use crate::spec::Schedule;
use crate::timeline::Task;
use crate::work::Pass;

/// All forwards, then all backwards in reverse (Huang et al. 2019, figure 2).
pub(super) struct Gpipe;

impl PipelineSchedule for Gpipe {
    fn schedule(&self) -> Schedule {
        Schedule::Gpipe
    }

    fn description(&self) -> &'static str {
        "all forwards, then all backwards (Huang et al. 2019)"
    }

    fn warm_up(&self, _stage: u32, shape: PipelineShape) -> u32 {
        shape.micro_batch_count
    }

    fn order(&self, _stage: u32, shape: PipelineShape) -> Vec<Task> {
        let task = |pass| move |micro_batch| Task { pass, micro_batch, chunk: 0 };
        (0..shape.micro_batch_count)
            .map(task(Pass::Forward))
            .chain((0..shape.micro_batch_count).rev().map(task(Pass::Backward)))
            .collect()
    }
}
