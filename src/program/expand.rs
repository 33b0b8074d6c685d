//! Unfolding in time: blocks replaced by their launches.

use super::{Action, BlockId, EventId, Launch, Program, Role, Step, Stream, Waits};

/// The same program without blocks.
pub fn expand(program: &Program) -> Program {
    let roles = program.roles.iter().map(|role| expand_role(program, role, true)).collect();
    Program { roles, blocks: Vec::new(), ..program.clone() }
}

/// The same program without open blocks.
pub fn expand_open(program: Program) -> Program {
    let open = |step: &Step| match step {
        Step::Launch(launch) => matches!(launch.action, Action::OpenBlock(_)),
        Step::Host { .. } | Step::Synchronize { .. } | Step::Signal { .. } => false,
    };
    let roles = program
        .roles
        .iter()
        .map(|role| {
            if role.steps.iter().any(open) {
                expand_role(&program, role, false)
            } else {
                role.clone()
            }
        })
        .collect();
    Program { roles, ..program }
}

/// The same program with its open blocks closed: an approximation, since what they communicate no
/// longer shares links with what runs beside them.
pub fn close_open(mut program: Program) -> Program {
    let steps = program.roles.iter_mut().flat_map(|role| &mut role.steps);
    for step in steps {
        if let Step::Launch(launch) = step
            && let Action::OpenBlock(block) = launch.action
        {
            launch.action = Action::Block(block);
        }
    }
    program
}

fn expand_role(program: &Program, role: &Role, closed_too: bool) -> Role {
    let mut expansion =
        Expansion { program, closed_too, steps: Vec::new(), event_count: role.event_count };
    for step in &role.steps {
        match step {
            Step::Launch(launch) => expansion.launch(*launch),
            Step::Host { .. } | Step::Synchronize { .. } | Step::Signal { .. } => {
                expansion.steps.push(*step);
            }
        }
    }
    Role {
        stage: role.stage,
        steps: expansion.steps,
        other_threads: role.other_threads.clone(),
        host_lanes: role.host_lanes.clone(),
        event_count: expansion.event_count,
        memory: role.memory,
    }
}

struct Expansion<'a> {
    program: &'a Program,
    /// Whether closed blocks are replaced too.
    closed_too: bool,
    steps: Vec<Step>,
    event_count: u32,
}

impl Expansion<'_> {
    fn launch(&mut self, launch: Launch) {
        match launch.action {
            Action::OpenBlock(block) => self.block(block, launch),
            Action::Block(block) if self.closed_too => self.block(block, launch),
            _ => self.steps.push(Step::Launch(launch)),
        }
    }

    /// The launches of a block: the first waits for what the block waits for, the last records
    /// what the block records; memory effects of the block go to those two.
    fn block(&mut self, id: BlockId, outer: Launch) {
        let block = self.program.block(id);
        let offset = self.event_count;
        self.event_count += block.event_count;
        let map = |event: EventId| {
            if event == EventId::NONE { event } else { EventId(event.0 + offset) }
        };
        let last = block.launches.len() - 1;
        for (index, inner) in block.launches.iter().enumerate() {
            let mut waits = Waits::NONE;
            inner.waits.iter().for_each(|event| waits.add(map(event)));
            let mut launch =
                Launch { waits, records: map(inner.records), task: outer.task, ..*inner };
            if index == 0 {
                assert!(
                    inner.stream == Stream::Compute,
                    "block `{}` must start on the compute stream",
                    block.label
                );
                outer.waits.iter().for_each(|event| launch.waits.add(event));
                launch.memory.activations_taken += outer.memory.activations_taken;
                launch.memory.buffers_taken += outer.memory.buffers_taken;
            }
            if index == last {
                launch.records = outer.records;
                launch.memory.activations_freed += outer.memory.activations_freed;
                launch.memory.buffers_freed += outer.memory.buffers_freed;
            }
            self.launch(launch);
        }
    }
}
