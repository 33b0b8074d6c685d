//! Pipeline schedules: in which order a stage runs forwards and backwards.

mod gpipe;
mod interleaved;
mod one_forward_one_backward;

use crate::spec::Schedule;
use crate::timeline::Task;

/// Size of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineShape {
    /// Stages.
    pub stage_count: u32,
    /// Micro-batches.
    pub micro_batch_count: u32,
    /// Model chunks a stage.
    pub chunk_count: u32,
}

/// A pipeline schedule.
pub trait PipelineSchedule: Sync {
    /// Which one, as in the configuration.
    fn schedule(&self) -> Schedule;
    /// One sentence and the source.
    fn description(&self) -> &'static str;
    /// The tasks of a stage in order; every micro-batch of every chunk once forward, then once
    /// backward.
    fn order(&self, stage: u32, shape: PipelineShape) -> Vec<Task>;
    /// Forwards before the steady state, in which a forward and a backward take turns until the
    /// forwards are done.
    fn warm_up(&self, stage: u32, shape: PipelineShape) -> u32;
}

/// All schedules.
pub const SCHEDULES: &[&dyn PipelineSchedule] =
    &[&gpipe::Gpipe, &one_forward_one_backward::OneForwardOneBackward, &interleaved::Interleaved];

/// The schedule that a plan names.
pub fn find(schedule: Schedule) -> &'static dyn PipelineSchedule {
    let found = SCHEDULES.iter().find(|candidate| candidate.schedule() == schedule);
    *found.expect("every variant of spec::Schedule is registered; the test below holds it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Pass;
    use proptest::prelude::*;

    #[test]
    fn every_schedule_is_registered() {
        for schedule in [Schedule::Gpipe, Schedule::OneForwardOneBackward, Schedule::Interleaved] {
            assert_eq!(find(schedule).schedule(), schedule);
        }
    }

    proptest! {
        #[test]
        fn every_task_runs_once_and_forward_comes_first(
            stage_count in 1u32..9, rounds in 1u32..6, chunks in 1u32..5,
        ) {
            for schedule in SCHEDULES {
                let chunk_count =
                    if schedule.schedule() == Schedule::Interleaved { chunks } else { 1 };
                let shape = PipelineShape {
                    stage_count, micro_batch_count: rounds * stage_count, chunk_count,
                };
                for stage in 0..stage_count {
                    let order = schedule.order(stage, shape);
                    let tasks = shape.micro_batch_count * chunk_count;
                    let warm_up = schedule.warm_up(stage, shape);
                    for (index, task) in order.iter().enumerate().take(2 * tasks as usize) {
                        let in_turn = index as u32 - warm_up.min(index as u32);
                        let forwards_left = in_turn < 2 * (tasks - warm_up);
                        let turn = forwards_left && in_turn.is_multiple_of(2);
                        let forward = (index as u32) < warm_up || turn;
                        prop_assert_eq!(task.pass == Pass::Forward, forward);
                    }
                    prop_assert_eq!(order.len() as u32, 2 * tasks);
                    let mut forward = std::collections::HashSet::new();
                    let mut backward = std::collections::HashSet::new();
                    for task in order {
                        let key = (task.micro_batch, task.chunk);
                        match task.pass {
                            Pass::Forward => prop_assert!(forward.insert(key)),
                            Pass::Backward => {
                                prop_assert!(forward.contains(&key) && backward.insert(key));
                            }
                        }
                    }
                    prop_assert_eq!(backward.len() as u32, tasks);
                }
            }
        }
    }
}
