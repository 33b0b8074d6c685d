//! Made-up jobs whose meetings and clocks are known.

use proptest::prelude::*;

use super::*;
use crate::trace::{Builder, Classes, CollectiveArguments, DeviceEvent, DeviceKind};

/// A collective of a made-up job: what runs before it on each rank, and how long data moves.
#[derive(Clone, Debug)]
struct Made {
    before_us: Vec<i64>,
    transfer_us: i64,
    is_reduce: bool,
}

/// A made-up job: its collectives, and by rank the offset of the clock and how many collectives
/// are missing at both edges of the window.
#[derive(Clone, Debug)]
struct Job {
    made: Vec<Made>,
    clocks_us: Vec<i64>,
    edges: Vec<(usize, usize)>,
    is_numbered: bool,
    /// Of every so many kernels of the second rank, one of which nothing is said.
    unsaid_each: usize,
}

fn job() -> impl Strategy<Value = Job> {
    (2_usize..6).prop_flat_map(|rank_count| {
        let made =
            (prop::collection::vec(150_i64..40_000, rank_count), 50_i64..3_000, any::<bool>())
                .prop_map(|(before_us, transfer_us, is_reduce)| Made {
                    before_us,
                    transfer_us,
                    is_reduce,
                });
        // Clocks are one host's or are told apart: what is below 10 us is taken for the first.
        let clock = (-2_000_i64..2_000).prop_map(|ms| if ms.abs() < 500 { 0 } else { ms * 1000 });
        let edge = (0_usize..3, 0_usize..3);
        (
            prop::collection::vec(made, 24..40),
            prop::collection::vec(clock, rank_count),
            prop::collection::vec(edge, rank_count),
            any::<bool>(),
            2_usize..9,
        )
            .prop_map(|(made, clocks_us, edges, is_numbered, unsaid_each)| Job {
                made,
                clocks_us,
                edges,
                is_numbered,
                unsaid_each,
            })
    })
}

/// Recordings of a job, and by rank the number of each collective that it has.
fn record(job: &Job) -> (Vec<Recording>, Vec<Vec<usize>>) {
    let classes = Classes::shipped();
    let mut free = vec![0_i64; job.clocks_us.len()];
    let mut kernels: Vec<Vec<(usize, i64, i64)>> = vec![Vec::new(); free.len()];
    for (number, made) in job.made.iter().enumerate() {
        let ready: Vec<i64> = free.iter().zip(&made.before_us).map(|(a, b)| a + b).collect();
        let end = ready.iter().max().unwrap() + made.transfer_us;
        for (rank, ready) in ready.into_iter().enumerate() {
            kernels[rank].push((number, ready, end));
            free[rank] = end;
        }
    }
    let mut present = Vec::new();
    let mut recordings = Vec::new();
    for (rank, kernels) in kernels.iter().enumerate() {
        let (first, last) = job.edges[rank];
        let kept = &kernels[first..kernels.len() - last];
        let mut builder = Builder::new(&format!("rank{rank}.json"), &classes);
        builder.rank(Some(rank as u64), Some(free.len() as u64));
        for &(number, ready, end) in kept {
            let reduce = job.made[number].is_reduce;
            let name =
                if reduce { "ncclKernel_AllReduce_RING" } else { "ncclKernel_AllGather_RING" };
            let is_said = job.is_numbered && (rank != 1 || number % job.unsaid_each > 0);
            let clock_us = 1_700_000_000_000_000 + job.clocks_us[rank];
            builder.device_event(DeviceEvent {
                kind: DeviceKind::Kernel,
                device: rank as u64,
                stream: 20,
                name,
                start_ns: (ready + clock_us) * 1000,
                end_ns: (end + clock_us) * 1000,
                correlation: None,
                context: 0,
                bytes: None,
                collective: is_said.then_some(CollectiveArguments {
                    group: Some("default"),
                    sequence: Some(number as u64),
                    ..CollectiveArguments::default()
                }),
            });
        }
        present.push(kept.iter().map(|kernel| kernel.0).collect());
        recordings.push(builder.finish());
    }
    (recordings, present)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn made_up_jobs_are_matched_and_aligned_exactly(job in job()) {
        let (recordings, present) = record(&job);
        let joined = join(recordings).unwrap();
        let timeline = &joined.recording.timeline;
        let clocks = joined.clocks.iter().zip(&job.clocks_us);
        let apart = clocks.map(|(found, made)| made * 1000 - found.offset_ns);
        let apart: BTreeSet<i64> = apart.collect();
        prop_assert_eq!(apart.len(), 1, "{:?}", joined.clocks);
        for number in 0..job.made.len() {
            // Of the kernels that are there: who they are, and who was last.
            let ranks: Vec<u32> =
                (0..).zip(&present)
                    .filter(|(_, has)| has.contains(&number))
                    .map(|it| it.0)
                    .collect();
            let at = |rank: u32| {
                let place = present[rank as usize].iter().position(|&it| it == number).unwrap();
                let mut own = joined.recording.communications.iter().filter(|said| {
                    timeline.spans[said.span.0 as usize].process == rank
                });
                own.nth(place).unwrap().span
            };
            let expected: Vec<SpanId> = ranks.iter().map(|&rank| at(rank)).collect();
            let found = timeline.meetings.iter().find(|meeting| meeting.members == expected);
            prop_assert_eq!(found.is_some(), ranks.len() > 1, "collective {}", number);
            if ranks.len() > 1 {
                let spans: Vec<_> =
                    expected.iter().map(|span| &timeline.spans[span.0 as usize]).collect();
                let last = spans.iter().map(|span| span.ready).max().unwrap();
                prop_assert!(spans.iter().all(|span| span.start == last));
                prop_assert!(spans.iter().all(|span| span.end == spans[0].end));
            }
        }
    }
}

#[test]
fn two_files_of_one_rank_are_an_error_that_names_both() {
    let classes = Classes::shipped();
    let file = |name: &str| {
        let mut builder = Builder::new(name, &classes);
        builder.rank(Some(3), None);
        builder.finish()
    };
    let error = join(vec![file("a.json"), file("b.json")]).unwrap_err().to_string();
    assert_eq!(error, "b.json: says that it is rank 3, as a.json does; wants one file a rank");
}

#[test]
fn files_without_ranks_take_the_numbers_that_are_left() {
    let classes = Classes::shipped();
    let file = |rank: Option<u64>| {
        let mut builder = Builder::new("a.json", &classes);
        builder.rank(rank, None);
        builder.finish()
    };
    let joined = join(vec![file(None), file(Some(0)), file(None)]).unwrap();
    let ranks: Vec<u64> =
        joined.recording.timeline.processes.iter().map(|process| process.rank).collect();
    assert_eq!(ranks, [0, 1, 2]);
    assert_eq!(joined.recording.sources[0].rank, Some(0));
}

#[test]
fn collectives_that_agree_on_no_clock_are_not_matched() {
    let classes = Classes::shipped();
    // Kernels of one name at times that have nothing to do with each other.
    let file = |rank: u64, step_ns: i64| {
        let mut builder = Builder::new("a.json", &classes);
        builder.rank(Some(rank), None);
        for number in 0..40_i64 {
            let start_ns = 50_000_000 + number * number * step_ns;
            builder.device_event(DeviceEvent {
                kind: DeviceKind::Kernel,
                device: rank,
                stream: 1,
                name: "ncclKernel_AllReduce",
                start_ns,
                end_ns: start_ns + 10_000,
                correlation: None,
                context: 0,
                bytes: None,
                collective: None,
            });
        }
        builder.finish()
    };
    let joined = join(vec![file(0, 1_000_003), file(1, 1_617_033)]).unwrap();
    assert!(!joined.clocks[1].is_aligned, "{:?}", joined.clocks);
    assert!(joined.recording.timeline.meetings.is_empty());
    assert_eq!(joined.members, [(0, 40), (0, 40)]);
}

/// A recording of a rank whose kernels end at these microseconds, each 100 long, with what is said.
fn saying(rank: u64, kernels: &[(i64, CollectiveArguments<'_>)]) -> Recording {
    let classes = Classes::shipped();
    let mut builder = Builder::new(&format!("rank{rank}.json"), &classes);
    builder.rank(Some(rank), Some(4));
    for &(end_us, arguments) in kernels {
        builder.device_event(DeviceEvent {
            kind: DeviceKind::Kernel,
            device: rank,
            stream: 20,
            name: "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)",
            start_ns: (end_us - 100) * 1000,
            end_ns: end_us * 1000,
            correlation: None,
            context: 0,
            bytes: None,
            collective: Some(arguments),
        });
    }
    builder.finish()
}

fn member_counts(recordings: Vec<Recording>) -> Vec<usize> {
    let joined = join(recordings).unwrap();
    joined.recording.timeline.meetings.iter().map(|meeting| meeting.members.len()).collect()
}

#[test]
fn numbers_that_a_rank_uses_twice_tell_nothing_apart() {
    let same = CollectiveArguments {
        name: Some("allreduce"),
        group: Some("0"),
        sequence: Some(7),
        ..CollectiveArguments::default()
    };
    let ends: Vec<(i64, CollectiveArguments<'_>)> =
        (1..6).map(|place| (place * 10_000, same)).collect();
    assert_eq!(member_counts(vec![saying(0, &ends), saying(1, &ends)]), [2; 5]);
}

#[test]
fn a_rank_numbers_its_own_messages_so_they_meet_by_time() {
    let message = |name: &'static str, sequence: u64| CollectiveArguments {
        name: Some(name),
        elements_in: Some(4096),
        dtype: Some("Float"),
        group: Some("pp"),
        group_size: Some(4),
        sequence: Some(sequence),
        ..CollectiveArguments::default()
    };
    // The first sends only; to the second these are every other message.
    let sends: Vec<_> = (1..6).map(|at| (at * 10_000, message("send", at as u64))).collect();
    let receives: Vec<_> = (1..6).map(|at| (at * 10_000, message("recv", 2 * at as u64))).collect();
    assert_eq!(member_counts(vec![saying(0, &sends), saying(1, &receives)]), [2; 5]);
}

#[test]
fn groups_of_one_name_are_told_apart_by_their_ranks() {
    let of = |ranks: &'static str| CollectiveArguments {
        name: Some("allreduce"),
        group: Some("tp"),
        group_size: Some(2),
        ranks: Some(ranks),
        sequence: Some(3),
        ..CollectiveArguments::default()
    };
    let ranks = ["[0, 1]", "[2, 3]"];
    // What all ranks do together puts their clocks on one.
    let all = CollectiveArguments {
        name: Some("allreduce"),
        group: Some("world"),
        group_size: Some(4),
        ..CollectiveArguments::default()
    };
    let kernels = |rank: usize| [(10_000, of(ranks[rank / 2])), (50_000, all)];
    let recordings = (0..4).map(|rank| saying(rank as u64, &kernels(rank))).collect();
    let joined = join(recordings).unwrap();
    let timeline = &joined.recording.timeline;
    let members = |at: usize| -> Vec<u32> {
        let spans = timeline.meetings[at].members.iter();
        spans.map(|span| timeline.spans[span.0 as usize].process).collect()
    };
    assert_eq!(timeline.meetings.len(), 3);
    assert_eq!((members(0), members(1)), (vec![0, 1], vec![2, 3]));
    assert_eq!(members(2), [0, 1, 2, 3]);
}

#[test]
fn a_recording_that_says_nothing_joins_one_that_says_all() {
    let said = |sequence: u64| CollectiveArguments {
        name: Some("allreduce"),
        elements_in: Some(4096),
        dtype: Some("Float"),
        group: Some("0"),
        sequence: Some(sequence),
        ..CollectiveArguments::default()
    };
    let all: Vec<_> = (1..6).map(|at| (at * at * 10_000, said(at as u64))).collect();
    let none: Vec<_> = all.iter().map(|&(end, _)| (end, CollectiveArguments::default())).collect();
    assert_eq!(member_counts(vec![saying(0, &all), saying(1, &none)]), [2; 5]);
}
