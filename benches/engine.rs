//! The event engine on its own: the hold model (pop the earliest event, schedule another after a
//! random time) at a steady number of pending events, and the sharing of links.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use stepcast::des::{Activity, Agenda, solve};
use stepcast::units::Instant;

/// Pops and pushes in one sample.
const HOLDS: usize = 1_000_000;

/// Exponential increments with a mean of 1 us, drawn beforehand, in picoseconds.
fn increments() -> Vec<u64> {
    let mut random = Pcg64::seed_from_u64(1);
    let draw = |_| (-1e6 * (1.0 - random.random::<f64>()).ln()) as u64;
    (0..1 << 16).map(draw).collect()
}

fn hold(criterion: &mut Criterion) {
    let increments = increments();
    let mut group = criterion.benchmark_group("hold");
    group.throughput(Throughput::Elements(HOLDS as u64)).sample_size(20);
    for pending in [1_000usize, 100_000] {
        group.bench_function(BenchmarkId::from_parameter(pending), |bencher| {
            let mut agenda = Agenda::new();
            for event in 0..pending {
                let at = increments[event % increments.len()];
                agenda.schedule(Instant::from_ps(at), event as u32);
            }
            bencher.iter(|| {
                for step in 0..HOLDS {
                    if let Some((at, event)) = agenda.pop() {
                        let after = increments[step % increments.len()];
                        agenda.schedule(Instant::from_ps(at.ps() + after), event);
                    }
                }
                black_box(agenda.len())
            });
        });
    }
    group.finish();
}

fn share(criterion: &mut Criterion) {
    let mut random = Pcg64::seed_from_u64(2);
    let link_count = 2_000;
    let capacities: Vec<f64> = (0..link_count).map(|_| random.random_range(1.0..10.0)).collect();
    let demands: Vec<Vec<(usize, f64)>> = (0..4_000)
        .map(|_| (0..3).map(|_| (random.random_range(0..link_count), 1.0)).collect())
        .collect();
    let flows: Vec<Activity> =
        demands.iter().map(|demands| Activity { limit: f64::INFINITY, demands }).collect();
    criterion.bench_function("share/4000 flows on 2000 links", |bencher| {
        bencher.iter(|| solve(black_box(&capacities), black_box(&flows)));
    });
}

criterion_group!(benches, hold, share);
criterion_main!(benches);
