//! Ranks of recorded jobs joined, as far as the shared traces are there.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use stepcast::trace::{Classes, Joined, Options, join, open};

/// Joins traces below the shared folder; `None` where they are not there.
fn joined(names: &[String]) -> Option<Joined> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    if let Some(missing) = paths.iter().find(|path| !path.exists()) {
        println!("SKIPPED: no trace {}", missing.display());
        return None;
    }
    let classes = Classes::shipped();
    let options = Options { classes: &classes, frames: false, shapes: false };
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        open(&name, File::open(path).unwrap()).unwrap().read(None, &options).unwrap()
    };
    Some(join(paths.iter().map(read).collect()).unwrap())
}

#[test]
fn all_collectives_of_a_job_with_all_its_ranks_meet_and_end_together() {
    let names: Vec<String> =
        (0..8).map(|rank| format!("param_dlrm8_v100/kineto_rank{rank}.json.gz")).collect();
    let Some(joined) = joined(&names) else { return };
    let timeline = &joined.recording.timeline;
    let mut last: BTreeMap<u64, usize> = BTreeMap::new();
    for meeting in &timeline.meetings {
        assert_eq!(meeting.members.len(), 8, "{meeting:?}");
        let spans = || meeting.members.iter().map(|span| &timeline.spans[span.0 as usize]);
        let ends = || spans().map(|span| span.end.ps());
        assert!(ends().max().unwrap() - ends().min().unwrap() <= 7_000_000);
        let arrived = spans().map(|span| span.ready).max().unwrap();
        assert!(spans().all(|span| span.start == arrived.min(span.end)));
        let latest = spans().find(|span| span.ready == arrived).unwrap();
        let us = |ps: u64| ps / 1_000_000;
        let rank = timeline.processes[latest.process as usize].rank;
        let waited = spans().map(|span| span.start.ps() - span.ready.ps()).max().unwrap();
        let label = timeline.labels.name(latest.label);
        println!(
            "rank {rank} last, longest wait {} us, transfer {} us: {label:.40}",
            us(waited),
            us(latest.end.ps() - latest.start.ps())
        );
        *last.entry(rank).or_default() += 1;
    }
    println!("last: {last:?}; {:?}", joined.clocks);
    assert!(joined.clocks.iter().all(|clock| clock.offset_ns == 0 && clock.is_aligned));
    assert!(joined.members.iter().all(|&(matched, all)| all > 0 && matched == all));
}

#[test]
fn thinned_traces_are_matched_only_where_kernels_ended_together() {
    let names = ["hta_sampled128_rank0.json.gz", "hta_sampled128_rank1.json.gz"];
    let Some(joined) = joined(&names.map(str::to_owned)) else { return };
    println!("{:?} {:?}", joined.clocks, joined.members);
    let timeline = &joined.recording.timeline;
    for meeting in &timeline.meetings {
        let spans = || meeting.members.iter().map(|span| &timeline.spans[span.0 as usize]);
        let began = spans().map(|span| span.ready).max().unwrap();
        assert!(spans().all(|span| span.end.ps() + 20_000_000 >= began.ps()));
    }
}

#[test]
fn other_traces_join_with_themselves_alone_without_meetings() {
    let Some(joined) = joined(&["hta_recsys_a100_16rank_rank0.json.gz".to_owned()]) else { return };
    assert!(joined.recording.timeline.meetings.is_empty());
    assert_eq!(joined.recording.sources[0].rank, Some(0));
    assert!(joined.members[0].1 > 0 && joined.members[0].0 == 0);
}
