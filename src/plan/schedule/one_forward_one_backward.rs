//! 1F1B.

use super::{PipelineSchedule, PipelineShape};
use crate::spec::Schedule;
use crate::timeline::Task;
use crate::work::Pass;

/// Warm-up forwards, then one forward and one backward in turn, then the remaining backwards
/// (PipeDream-flush; Narayanan et al. 2021, section 2.2.1).
pub(super) struct OneForwardOneBackward;

impl PipelineSchedule for OneForwardOneBackward {
    fn schedule(&self) -> Schedule {
        Schedule::OneForwardOneBackward
    }

    fn description(&self) -> &'static str {
        "one forward, one backward after a warm-up (Narayanan et al. 2021)"
    }

    fn warm_up(&self, stage: u32, shape: PipelineShape) -> u32 {
        (shape.stage_count - 1 - stage).min(shape.micro_batch_count)
    }

    fn order(&self, stage: u32, shape: PipelineShape) -> Vec<Task> {
        let count = shape.micro_batch_count;
        let warm_up = self.warm_up(stage, shape);
        let task = |pass, micro_batch| Task { pass, micro_batch, chunk: 0 };
        let mut order: Vec<Task> = (0..warm_up).map(|index| task(Pass::Forward, index)).collect();
        for index in 0..count - warm_up {
            order.push(task(Pass::Forward, warm_up + index));
            order.push(task(Pass::Backward, index));
        }
        order.extend((count - warm_up..count).map(|index| task(Pass::Backward, index)));
        order
    }
}
