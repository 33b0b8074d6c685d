//! The engine on programs small enough to run by hand. Times are in microseconds.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use stepcast::plan::GroupKind;
use stepcast::program::{
    Action, Block, BlockId, EventId, Group, Launch, MemoryEffect, Program, ProgramError, RankEntry,
    Role, Step, Stream, Tag, Waits, Work, WorkId, WorkKind, expand, verify,
};
use stepcast::sim::{
    Costs, HostCosts, Machine, Outcome, Ports, Record, SimError, WorkCost, block_costs, run,
};
use stepcast::timeline::{Lane, Span};
use stepcast::units::{Bytes, Seconds};
use stepcast::work::{Axis, Collective, CollectiveKind, Kernel, MemoryKernel, Pass};

const MICROSECOND: f64 = 1e-6;
const PS_A_MICROSECOND: u64 = 1_000_000;

/// A program under construction, with the costs of its works.
#[derive(Default)]
pub(crate) struct HandBuilt {
    works: Vec<Work>,
    costs: Vec<WorkCost>,
    roles: Vec<Vec<Step>>,
    blocks: Vec<Block>,
    groups: Vec<Group>,
}

impl HandBuilt {
    fn work(&mut self, label: &'static str, kind: WorkKind, time_us: f64) -> WorkId {
        self.works.push(Work { label: label.into(), pass: Pass::Forward, kind, launches: 1 });
        self.costs.push(WorkCost {
            time: Seconds::new(time_us * MICROSECOND),
            launch: Seconds::ZERO,
            delay: Seconds::ZERO,
            slowdown: 1.0,
            ports: Ports::default(),
        });
        WorkId(self.works.len() as u32 - 1)
    }

    /// A kernel that takes a time.
    pub(crate) fn kernel(&mut self, label: &'static str, time_us: f64) -> WorkId {
        let (read, write) = (Bytes::ZERO, Bytes::ZERO);
        let kernel = Kernel::Memory { kind: MemoryKernel::Pointwise, read, write };
        self.work(label, WorkKind::Kernel(kernel), time_us)
    }

    /// An all-reduce of a group that takes a time.
    fn collective(&mut self, label: &'static str, group: GroupKind, time_us: f64) -> WorkId {
        let collective = Collective { kind: CollectiveKind::AllReduce, bytes: Bytes::new(1.0) };
        self.work(label, WorkKind::Collective { group, collective }, time_us)
    }

    /// A transfer between two stages that takes a time.
    pub(crate) fn transfer(&mut self, from: u32, to: u32, time_us: f64) -> WorkId {
        let group = GroupKind::Transfer { from, to };
        let collective = Collective { kind: CollectiveKind::SendReceive, bytes: Bytes::new(1.0) };
        self.work("data", WorkKind::Collective { group, collective }, time_us)
    }

    fn cost(&mut self, work: WorkId) -> &mut WorkCost {
        &mut self.costs[work.0 as usize]
    }

    /// A group of ranks.
    fn group(&mut self, kind: GroupKind, members: &[usize]) {
        self.groups.push(Group { kind, members: members.to_vec() });
    }

    /// A rank with its own role.
    pub(crate) fn rank(&mut self, steps: Vec<Step>) {
        self.roles.push(steps);
    }

    pub(crate) fn program(&self) -> Program {
        let groups_of = |rank: usize| {
            let mine = |group: &&(usize, &Group)| group.1.members.contains(&rank);
            let all: Vec<(usize, &Group)> = self.groups.iter().enumerate().collect();
            all.iter().filter(mine).map(|(index, group)| (group.kind, *index)).collect()
        };
        Program {
            works: self.works.clone(),
            blocks: self.blocks.clone(),
            roles: self.roles.iter().enumerate().map(|(stage, steps)| role(stage, steps)).collect(),
            ranks: (0..self.roles.len())
                .map(|rank| RankEntry {
                    rank: rank as u64,
                    role: rank,
                    multiplicity: 1,
                    groups: groups_of(rank),
                })
                .collect(),
            groups: self.groups.clone(),
        }
    }

    pub(crate) fn run(&self, machine: &Machine) -> Result<Outcome, SimError> {
        let costs = Costs { works: self.costs.clone(), blocks: Vec::new() };
        run(&expand(&self.program()), &costs, machine)
    }

    fn run_folded(&self, machine: &Machine) -> Result<Outcome, SimError> {
        let program = self.program();
        let blocks = block_costs(&program, &self.costs, machine)?;
        run(&program, &Costs { works: self.costs.clone(), blocks }, machine)
    }
}

fn role(stage: usize, steps: &[Step]) -> Role {
    Role {
        stage: stage as u64,
        steps: steps.to_vec(),
        event_count: steps.iter().map(events).max().unwrap_or(0),
        ..Role::default()
    }
}

/// One more than the highest event that a step speaks of.
fn events(step: &Step) -> u32 {
    let Step::Launch(launch) = step else { return 0 };
    launch.waits.iter().map(|event| event.0 + 1).fold(launch.records.0 + 1, u32::max)
}

/// A launch that waits for events and records one.
pub(crate) fn launch(action: Action, stream: Stream, waits: &[u32], records: u32) -> Step {
    let waits: Vec<EventId> = waits.iter().map(|&event| EventId(event)).collect();
    Step::Launch(Launch {
        action,
        stream,
        waits: Waits::on(&waits),
        records: EventId(records),
        task: None,
        memory: MemoryEffect::default(),
    })
}

/// A machine whose host has launched everything.
pub(crate) const NO_HOST: Machine = Machine {
    host: None,
    communication_slowdown: 1.0,
    dispatch_gap: Seconds::ZERO,
    record: Record::DevicesAndHosts,
};

fn machine(latency_us: f64, queue_depth: u32) -> Machine {
    let host = HostCosts { launch_latency: Seconds::new(latency_us * MICROSECOND), queue_depth };
    Machine { host: Some(host), ..NO_HOST }
}

/// Start and end of the spans of a lane of rank 0.
pub(crate) fn times(outcome: &Outcome, lane: Lane) -> Vec<(u64, u64)> {
    let us = |span: &Span| {
        assert_eq!((span.start.ps() % PS_A_MICROSECOND, span.end.ps() % PS_A_MICROSECOND), (0, 0));
        (span.start.ps() / PS_A_MICROSECOND, span.end.ps() / PS_A_MICROSECOND)
    };
    outcome.timeline.lane(0, lane).map(us).collect()
}

const TAG: Tag = Tag { pass: Pass::Forward, micro_batch: 0, chunk: 0 };

pub(crate) fn message(result: Result<Outcome, SimError>) -> String {
    match result {
        Ok(outcome) => panic!("ended at {:?}", outcome.end),
        Err(error) => error.to_string(),
    }
}

#[test]
fn two_ranks_that_both_receive_first_are_told_who_waits_for_whom() {
    let mut built = HandBuilt::default();
    let there = built.transfer(0, 1, 1.0);
    let back = built.transfer(1, 0, 1.0);
    let exchange = |out, into, stage| {
        vec![
            launch(Action::Receive { work: into, stage, tag: TAG }, Stream::ReceiveForward, &[], 0),
            launch(Action::Send { work: out, stage, tag: TAG }, Stream::SendForward, &[0], 1),
        ]
    };
    built.rank(exchange(there, back, 1));
    built.rank(exchange(back, there, 0));
    let program = built.program();
    assert_eq!(verify(&program), Ok(()), "each send has its receive: only running tells");
    let text = message(built.run(&NO_HOST));
    for line in [
        "rank 0 waits in `receive data, micro-batch 0, from stage 1` for rank 1",
        "rank 1 waits in `receive data, micro-batch 0, from stage 0` for rank 0",
        "rank 0 cannot start `send data, micro-batch 0, to stage 1` before `receive data",
    ] {
        assert!(text.contains(line), "`{line}` is not in: {text}");
    }
}

#[test]
fn a_collective_that_a_member_never_joins_names_the_member() {
    let mut built = HandBuilt::default();
    built.group(GroupKind::Tensor, &[0, 1, 2]);
    let sum = built.collective("sum", GroupKind::Tensor, 1.0);
    let kernel = built.kernel("other", 5.0);
    built.rank(vec![launch(Action::Work(sum), Stream::Tensor, &[], 0)]);
    built.rank(vec![launch(Action::Work(sum), Stream::Tensor, &[], 0)]);
    built.rank(vec![launch(Action::Work(kernel), Stream::Compute, &[], 0)]);
    let text = message(built.run(&NO_HOST));
    assert!(text.contains("rank 0 waits in `sum` for ranks 2 (2 of 3 present)"), "{text}");
    assert!(text.contains("rank 1 waits in `sum` for ranks 2 (2 of 3 present)"), "{text}");
    assert!(!text.contains("rank 2 waits"), "{text}");
}

#[test]
fn a_send_without_receive_and_an_event_without_cause_are_found_before_running() {
    let mut built = HandBuilt::default();
    let data = built.transfer(0, 1, 1.0);
    let send = Action::Send { work: data, stage: 1, tag: TAG };
    built.rank(vec![launch(send, Stream::SendForward, &[], 0)]);
    built.rank(Vec::new());
    let unmatched = ProgramError::Unmatched { from: 0, to: 1, tag: TAG, sent: 1, received: 0 };
    assert_eq!(verify(&built.program()), Err(unmatched));

    let mut built = HandBuilt::default();
    let kernel = built.kernel("kernel", 1.0);
    built.rank(vec![launch(Action::Work(kernel), Stream::Compute, &[7], 0)]);
    let unrecorded = ProgramError::UnrecordedEvent { stage: 0, step: 0, event: 7 };
    assert_eq!(verify(&built.program()), Err(unrecorded));
}

/// First 0-2, then `long` (10 alone, 1.5 times slower beside communication) beside `sum` (5 alone,
/// 1.2 times slower beside compute). `sum` takes 6: 2-8. In those 6 `long` does 6 / 1.5 = 4 of its
/// 10; the other 6 take 6: it ends at 14.
#[test]
fn rates_change_when_communication_ends() {
    let mut built = HandBuilt::default();
    built.group(GroupKind::Tensor, &[0]);
    let first = built.kernel("first", 2.0);
    let long = built.kernel("long", 10.0);
    built.cost(long).slowdown = 1.5;
    let sum = built.collective("sum", GroupKind::Tensor, 5.0);
    built.rank(vec![
        launch(Action::Work(first), Stream::Compute, &[], 0),
        launch(Action::Work(sum), Stream::Tensor, &[0], 1),
        launch(Action::Work(long), Stream::Compute, &[], 2),
    ]);
    let machine = Machine { communication_slowdown: 1.2, ..NO_HOST };
    let outcome = built.run(&machine).expect("it ends");
    assert_eq!(times(&outcome, Lane::Communication(Axis::Tp, 0)), [(2, 8)]);
    assert_eq!(times(&outcome, Lane::Compute), [(0, 2), (2, 14)]);
}

/// `long` (10) begins at 0; `sum` (3, not slowed) waits for `before` (4) on another stream, so
/// communication runs 0-4 and 4-7. 7 at half speed do 3.5 of `long`; the other 6.5 end at 13.5.
/// Then the same with a pause: nothing communicates, nothing is slowed.
#[test]
fn communication_back_to_back_slows_a_kernel_throughout() {
    let mut built = HandBuilt::default();
    built.group(GroupKind::Tensor, &[0]);
    built.group(GroupKind::Context, &[0]);
    let long = built.kernel("long", 10.0);
    built.cost(long).slowdown = 2.0;
    let before = built.collective("before", GroupKind::Context, 4.0);
    let sum = built.collective("sum", GroupKind::Tensor, 3.0);
    built.rank(vec![
        launch(Action::Work(long), Stream::Compute, &[], 0),
        launch(Action::Work(before), Stream::Context, &[], 1),
        launch(Action::Work(sum), Stream::Tensor, &[1], 2),
    ]);
    let outcome = built.run(&NO_HOST).expect("it ends");
    assert_eq!(outcome.end.ps(), 13_500_000);
}

/// Five kernels of 10, a launch costs 1, two may wait. The host launches the first at 0-1 (it
/// starts at 1 and leaves the queue), the second and third at 1-2 and 2-3. The queue is full until
/// the second starts at 11: the fourth goes out at 11-12; again until the third starts at 21: the
/// fifth goes out at 21-22. The device is busy from 1 to 51.
#[test]
fn a_full_launch_queue_holds_the_host_back() {
    let mut built = HandBuilt::default();
    let kernel = built.kernel("kernel", 10.0);
    built.cost(kernel).launch = Seconds::new(MICROSECOND);
    let launches =
        (0..5).map(|event| launch(Action::Work(kernel), Stream::Compute, &[], event)).collect();
    built.rank(launches);
    let outcome = built.run(&machine(0.0, 2)).expect("it ends");
    assert_eq!(times(&outcome, Lane::Host), [(0, 1), (1, 2), (2, 3), (11, 12), (21, 22)]);
    assert_eq!(times(&outcome, Lane::Compute), [(1, 11), (11, 21), (21, 31), (31, 41), (41, 51)]);
}

/// A launch costs 1 and takes 2 to arrive: the first kernel runs 3-13. The host waits for it, is
/// busy for 3 (13-16), launches again (16-17), and the second kernel runs 19-29.
#[test]
fn a_host_that_waits_for_the_device_starts_late_what_comes_next() {
    let mut built = HandBuilt::default();
    let kernel = built.kernel("kernel", 10.0);
    built.cost(kernel).launch = Seconds::new(MICROSECOND);
    let read = Step::Synchronize { label: "read", event: EventId(0) };
    let think = Step::Host { label: "think", time: Seconds::new(3.0 * MICROSECOND) };
    built.rank(vec![
        launch(Action::Work(kernel), Stream::Compute, &[], 0),
        read,
        think,
        launch(Action::Work(kernel), Stream::Compute, &[], 1),
    ]);
    let outcome = built.run(&machine(2.0, 1024)).expect("it ends");
    assert_eq!(times(&outcome, Lane::Host), [(0, 1), (1, 13), (13, 16), (16, 17)]);
    assert_eq!(times(&outcome, Lane::Compute), [(3, 13), (19, 29)]);
}

/// Two all-reduces of 10 that each fill the NIC.
fn two_on_one_link(delay_us: f64) -> Outcome {
    let mut built = HandBuilt::default();
    built.group(GroupKind::Tensor, &[0]);
    built.group(GroupKind::Context, &[0]);
    let delay = built.kernel("delay", delay_us);
    let one = built.collective("one", GroupKind::Tensor, 10.0);
    let other = built.collective("other", GroupKind::Context, 10.0);
    for work in [one, other] {
        built.cost(work).ports = Ports { scale_up: 0.0, network: 1.0 };
    }
    built.rank(vec![
        launch(Action::Work(delay), Stream::Compute, &[], 0),
        launch(Action::Work(one), Stream::Tensor, &[], 1),
        launch(Action::Work(other), Stream::Context, &[0], 2),
    ]);
    built.run(&NO_HOST).expect("it ends")
}

/// Side by side from the start: each goes at half its rate and takes 20.
#[test]
fn two_transfers_that_share_a_link_take_twice_as_long() {
    let outcome = two_on_one_link(0.0);
    assert_eq!(times(&outcome, Lane::Communication(Axis::Tp, 0)), [(0, 20)]);
    assert_eq!(times(&outcome, Lane::Communication(Axis::Cp, 0)), [(0, 20)]);
}

/// The second comes at 4. The first has done 4 of 10; the other 6 take 12 at half its rate: it ends
/// at 16. By then the second has done 6; the other 4 go at full rate: it ends at 20.
#[test]
fn a_transfer_that_comes_later_slows_the_first_from_then_on() {
    let outcome = two_on_one_link(4.0);
    assert_eq!(times(&outcome, Lane::Communication(Axis::Tp, 0)), [(0, 16)]);
    assert_eq!(times(&outcome, Lane::Communication(Axis::Cp, 0)), [(4, 20)]);
}

/// A kernel, then a block twice: kernel, all-reduce that the next kernel waits for, kernel.
fn with_block(before_us: f64, times_us: [f64; 3], launch_us: f64) -> HandBuilt {
    let mut built = HandBuilt::default();
    built.group(GroupKind::Tensor, &[0]);
    let before = built.kernel("before", before_us);
    let one = built.kernel("one", times_us[0]);
    let sum = built.collective("sum", GroupKind::Tensor, times_us[1]);
    let two = built.kernel("two", times_us[2]);
    for work in [before, one, sum, two] {
        built.cost(work).launch = Seconds::new(launch_us * MICROSECOND);
    }
    let inner = |work, stream, waits: &[u32], records| {
        let Step::Launch(launch) = launch(Action::Work(work), stream, waits, records) else {
            unreachable!("it is a launch")
        };
        launch
    };
    built.blocks.push(Block {
        label: "block",
        launches: vec![
            inner(one, Stream::Compute, &[], 0),
            inner(sum, Stream::Tensor, &[0], 1),
            inner(two, Stream::Compute, &[1], 2),
        ],
        event_count: 3,
    });
    built.rank(vec![
        launch(Action::Work(before), Stream::Compute, &[], 0),
        launch(Action::Block(BlockId(0)), Stream::Compute, &[], 1),
        launch(Action::Block(BlockId(0)), Stream::Compute, &[], 2),
        launch(Action::Work(before), Stream::Compute, &[], 3),
    ]);
    built
}

/// Device-bound: 100 + 2 (10 + 5 + 20) + 100 after the first launch (1) and its way (4) = 275.
/// Host-bound: eight launches of 10 each, the last kernel (1) 4 after its launch = 85.
#[test]
fn a_folded_block_ends_when_its_launches_would() {
    for (built, end_us) in [
        (with_block(100.0, [10.0, 5.0, 20.0], 1.0), 275),
        (with_block(1.0, [1.0, 2.0, 3.0], 10.0), 85),
    ] {
        let machine = machine(4.0, 1024);
        let unfolded = built.run(&machine).expect("it ends").end;
        let folded = built.run_folded(&machine).expect("it ends").end;
        assert_eq!(
            (unfolded.ps(), folded.ps()),
            (end_us * PS_A_MICROSECOND, end_us * PS_A_MICROSECOND)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// The max-plus cost of a block is exact, but for rounding each of its ends to picoseconds.
    #[test]
    fn folding_is_exact_for_any_mix_of_host_and_device(
        before in 0.0..100.0f64,
        times in prop::array::uniform3(0.0..50.0f64),
        launch_us in 0.0..30.0f64,
        latency_us in 0.0..10.0f64,
    ) {
        let built = with_block(before, times, launch_us);
        let machine = machine(latency_us, 1024);
        let unfolded = built.run(&machine).expect("it ends").end;
        let folded = built.run_folded(&machine).expect("it ends").end;
        prop_assert!(unfolded.ps().abs_diff(folded.ps()) <= 16, "{:?} and {:?}", unfolded, folded);
    }
}
