//! Interleaved 1F1B.

use super::{PipelineSchedule, PipelineShape};
use crate::spec::Schedule;
use crate::timeline::Task;
use crate::work::Pass;

/// 1F1B over several model chunks a stage (Narayanan et al. 2021, section 2.2.2), in the order of
/// Megatron-LM's `forward_backward_pipelining_with_interleaving`: micro-batches go through the
/// chunks in groups as large as the pipeline is deep.
pub(super) struct Interleaved;

impl PipelineSchedule for Interleaved {
    fn schedule(&self) -> Schedule {
        Schedule::Interleaved
    }

    fn description(&self) -> &'static str {
        "1F1B over several model chunks a stage (Narayanan et al. 2021)"
    }

    fn warm_up(&self, stage: u32, shape: PipelineShape) -> u32 {
        let PipelineShape { stage_count, micro_batch_count, chunk_count } = shape;
        let forwards = (stage_count - 1 - stage) * 2 + (chunk_count - 1) * stage_count;
        forwards.min(micro_batch_count * chunk_count)
    }

    fn order(&self, stage: u32, shape: PipelineShape) -> Vec<Task> {
        let PipelineShape { stage_count, micro_batch_count, chunk_count } = shape;
        let total = micro_batch_count * chunk_count;
        let warm_up = self.warm_up(stage, shape);
        let task = |pass, index: u32| {
            let in_group = index % (stage_count * chunk_count);
            let forward_chunk = in_group / stage_count;
            Task {
                pass,
                micro_batch: index / (stage_count * chunk_count) * stage_count
                    + in_group % stage_count,
                chunk: match pass {
                    Pass::Forward => forward_chunk,
                    Pass::Backward => chunk_count - 1 - forward_chunk,
                },
            }
        };
        let mut order: Vec<Task> = (0..warm_up).map(|index| task(Pass::Forward, index)).collect();
        for index in 0..total - warm_up {
            order.push(task(Pass::Forward, warm_up + index));
            order.push(task(Pass::Backward, index));
        }
        order.extend((total - warm_up..total).map(|index| task(Pass::Backward, index)));
        order
    }
}
