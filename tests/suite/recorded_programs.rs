//! Recorded programs on the engine: several host threads, kernels side by side, meetings of ranks.
//! Times are in microseconds.

use crate::engine::{NO_HOST, launch, message, times};
use stepcast::plan::GroupKind;
use stepcast::program::{
    Action, EventId, Group, GroupId, Program, ProgramError, RankEntry, Role, Step, Stream, Work,
    WorkId, WorkKind, verify,
};
use stepcast::sim::{
    Costs, HostCosts, Machine, Origin, Outcome, Ports, Record, SimError, WorkCost, run,
};
use stepcast::timeline::Lane;
use stepcast::units::{Bytes, Seconds};
use stepcast::work::{Class, Pass};

fn us(time: f64) -> Seconds {
    Seconds::new(time * 1e-6)
}

/// A recorded program under construction: works with their times, threads of each rank.
#[derive(Default)]
struct Recorded {
    works: Vec<Work>,
    costs: Vec<WorkCost>,
    ranks: Vec<Vec<Vec<Step>>>,
    groups: Vec<Group>,
}

impl Recorded {
    fn work(&mut self, label: &str, kind: WorkKind, time: f64) -> Action {
        let label = label.to_owned().into();
        self.works.push(Work { label, pass: Pass::Forward, kind, launches: 1 });
        self.costs.push(WorkCost {
            time: us(time),
            launch: Seconds::ZERO,
            delay: Seconds::ZERO,
            slowdown: 1.0,
            ports: Ports::default(),
        });
        Action::Work(WorkId(self.works.len() as u32 - 1))
    }

    fn kernel(&mut self, label: &str, time: f64) -> Action {
        let kind = WorkKind::Recorded { class: Class::OtherKernel, bytes: Bytes::ZERO };
        self.work(label, kind, time)
    }

    fn program(&self) -> Program {
        let role = |threads: &Vec<Vec<Step>>| Role {
            steps: threads[0].clone(),
            other_threads: threads[1..].to_vec(),
            host_lanes: (0..threads.len() as u32).map(Lane::Thread).collect(),
            event_count: 16,
            ..Role::default()
        };
        let rank = |index: usize| RankEntry {
            rank: index as u64,
            role: index,
            multiplicity: 1,
            groups: Vec::new(),
        };
        Program {
            works: self.works.clone(),
            blocks: Vec::new(),
            roles: self.ranks.iter().map(role).collect(),
            ranks: (0..self.ranks.len()).map(rank).collect(),
            groups: self.groups.clone(),
        }
    }

    fn run(&self, machine: &Machine) -> Result<Outcome, SimError> {
        let costs = Costs { works: self.costs.clone(), blocks: Vec::new() };
        run(&self.program(), &costs, machine)
    }
}

fn with_host(latency: f64, gap: f64) -> Machine {
    let host = HostCosts { launch_latency: us(latency), queue_depth: 1024 };
    let (dispatch_gap, record) = (us(gap), Record::Everything);
    Machine { host: Some(host), dispatch_gap, record, ..NO_HOST }
}

fn host(time: f64) -> Step {
    Step::Host { label: "host", time: us(time) }
}

fn signal(event: u32) -> Step {
    Step::Signal { event: EventId(event) }
}

fn wait(event: u32) -> Step {
    Step::Synchronize { label: "wait", event: EventId(event) }
}

const fn stream(number: u16) -> Stream {
    Stream::Recorded(number)
}

/// The main thread works for 5 and hands over; the other works for 10 (5-15), launches `back` at 15
/// (latency 2: 17-20) and hands back; the main thread launches `last` at 15 too, behind it.
#[test]
fn host_threads_hand_over_to_each_other() {
    let mut built = Recorded::default();
    let (back, last) = (built.kernel("back", 3.0), built.kernel("last", 1.0));
    let main = vec![host(5.0), signal(0), wait(1), launch(last, stream(0), &[], 2)];
    let other = vec![wait(0), host(10.0), launch(back, stream(0), &[], 3), signal(1)];
    built.ranks.push(vec![main, other]);
    let outcome = built.run(&with_host(2.0, 0.0)).expect("it ends");
    assert_eq!(times(&outcome, Lane::Thread(0)), [(0, 5), (5, 15), (15, 15)]);
    assert_eq!(times(&outcome, Lane::Thread(1)), [(0, 5), (5, 15), (15, 15)]);
    assert_eq!(times(&outcome, Lane::Stream(0)), [(17, 20), (20, 21)]);
    assert_eq!(outcome.origins.len(), outcome.timeline.spans.len());
    assert!(outcome.origins.contains(&Origin::Step { thread: 1, step: 1 }));
}

/// Without a hand-over the clock decides: `late` is launched by the main thread at 8, `early` by
/// the other at 3, and a stream runs them in this order.
#[test]
fn launches_of_two_threads_get_onto_a_stream_in_the_order_of_their_times() {
    let mut built = Recorded::default();
    let (late, early) = (built.kernel("late", 20.0), built.kernel("early", 10.0));
    built.ranks.push(vec![
        vec![host(8.0), launch(late, stream(0), &[], 0)],
        vec![host(3.0), launch(early, stream(0), &[], 1)],
    ]);
    let outcome = built.run(&with_host(0.0, 0.0)).expect("it ends");
    assert_eq!(times(&outcome, Lane::Stream(0)), [(3, 13), (13, 33)]);
}

#[test]
fn kernels_of_two_streams_run_at_once_however_many_streams_there_are() {
    let mut built = Recorded::default();
    let (one, other, after) =
        (built.kernel("one", 10.0), built.kernel("other", 4.0), built.kernel("after", 3.0));
    built.ranks.push(vec![vec![
        launch(one, stream(0), &[], 0),
        launch(other, stream(90), &[], 1),
        launch(after, stream(80), &[0], 2),
        launch(after, stream(81), &[1], 3),
    ]]);
    let outcome = built.run(&NO_HOST).expect("it ends");
    assert_eq!(times(&outcome, Lane::Stream(0)), [(0, 10)]);
    assert_eq!(times(&outcome, Lane::Stream(90)), [(0, 4)]);
    assert_eq!(times(&outcome, Lane::Stream(80)), [(10, 13)]);
    assert_eq!(times(&outcome, Lane::Stream(81)), [(4, 7)]);
}

/// A gap of 2 after 0-5; the third waits for the host (10) and not for the gap, and starts 1 late.
#[test]
fn a_stream_needs_a_gap_between_kernels_that_are_queued() {
    let mut built = Recorded::default();
    let kernel = built.kernel("kernel", 5.0);
    let late = built.kernel("late", 5.0);
    built.costs[1].delay = us(1.0);
    let queued = [launch(kernel, stream(0), &[], 0), launch(kernel, stream(0), &[], 1)];
    built.ranks.push(vec![[&queued[..], &[host(20.0), launch(late, stream(0), &[], 2)]].concat()]);
    let outcome = built.run(&with_host(0.0, 2.0)).expect("it ends");
    assert_eq!(times(&outcome, Lane::Stream(0)), [(0, 5), (7, 12), (21, 26)]);
}

/// Three ranks arrive at 1, 5 and 3: data moves from 5 on, for the 4 of the slowest member.
#[test]
fn a_recorded_collective_takes_its_time_from_the_last_arrival() {
    let mut built = Recorded::default();
    built.groups.push(Group { kind: GroupKind::Recorded, members: vec![0, 1, 2] });
    for (arrival, time) in [(1.0, 4.0), (5.0, 3.0), (3.0, 4.0)] {
        let kind = WorkKind::Meeting { group: GroupId(0), bytes: Bytes::ZERO };
        let sum = built.work("sum", kind, time);
        let steps = vec![host(arrival), launch(sum, stream(1), &[], 0), wait(0)];
        built.ranks.push(vec![steps]);
    }
    let outcome = built.run(&with_host(0.0, 0.0)).expect("it ends");
    let spans: Vec<_> =
        outcome.timeline.spans.iter().filter(|it| it.lane == Lane::Stream(1)).collect();
    let ready: Vec<u64> = spans.iter().map(|it| it.ready.ps() / 1_000_000).collect();
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|it| (it.start.ps(), it.end.ps()) == (5_000_000, 9_000_000)));
    assert_eq!(ready, [1, 5, 3]);
}

/// A join that takes no time: the kernel behind it starts when the last of what it waits for ends.
#[test]
fn work_that_takes_no_time_joins_what_others_wait_for() {
    let mut built = Recorded::default();
    let (kernel, join) = (built.kernel("kernel", 5.0), built.kernel("join", 0.0));
    let mut steps: Vec<Step> =
        (0..7).map(|it| launch(kernel, stream(it), &[], u32::from(it))).collect();
    steps.push(launch(join, stream(9), &[0, 1, 2, 3, 4, 5], 8));
    steps.push(launch(kernel, stream(8), &[6, 8], 9));
    built.ranks.push(vec![steps]);
    let outcome = built.run(&NO_HOST).expect("it ends");
    assert_eq!(times(&outcome, Lane::Stream(9)), [(5, 5)]);
    assert_eq!(times(&outcome, Lane::Stream(8)), [(5, 10)]);
}

#[test]
fn a_recorded_program_that_hangs_says_who_waits_for_what() {
    let mut built = Recorded::default();
    built.groups.push(Group { kind: GroupKind::Recorded, members: vec![0, 1] });
    let kind = WorkKind::Meeting { group: GroupId(0), bytes: Bytes::ZERO };
    let sum = built.work("sum", kind, 1.0);
    built.ranks.push(vec![vec![launch(sum, stream(3), &[], 0)]]);
    built.ranks.push(vec![vec![wait(1), signal(0)], vec![wait(0), signal(1)]]);
    let text = message(built.run(&NO_HOST));
    assert!(text.contains("rank 0 waits in `sum` for ranks 1 (1 of 2 present)"), "{text}");
    let host = "host thread 0 of rank 1 cannot go on before `a signal of host thread 1`";
    assert!(text.contains(host), "{text}");
}

#[test]
fn an_event_may_be_recorded_by_any_thread_but_must_be_by_one() {
    let mut built = Recorded::default();
    built.ranks.push(vec![vec![wait(0)], vec![signal(0)]]);
    assert_eq!(verify(&built.program()), Ok(()));
    built.ranks[0][1].pop();
    let missing = ProgramError::UnrecordedEvent { stage: 0, step: 0, event: 0 };
    assert_eq!(verify(&built.program()), Err(missing));
    built.ranks[0] = vec![vec![wait(0), signal(0)]];
    assert!(verify(&built.program()).is_err(), "one thread cannot wait for what it does later");
}
