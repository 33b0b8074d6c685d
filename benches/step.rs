//! A whole step from scenario to summary: folded, kernel by kernel, and unfolded, the last in
//! events of the engine.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stepcast::spec::{DataSources, Override, Scenario, load_text};
use stepcast::{Detail, simulate};

fn scenario(text: &str, overrides: &[&str]) -> Scenario {
    let overrides: Vec<Override> =
        overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
    load_text(&DataSources::shipped(), "scenario.toml", text, &overrides)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn step(criterion: &mut Criterion) {
    let large = scenario(include_str!("../configs/llama3-405b-16384xh100.toml"), &[]);
    let middle = scenario(include_str!("../configs/llama3-70b-64xh100.toml"), &[]);
    // 32 layers on 32 ranks, two micro-batches a stage and replica.
    let small = scenario(
        include_str!("../configs/llama3-8b-8xh100-fsdp.toml"),
        &[
            "stack=megatron-core",
            "cluster.node_count=4",
            "plan.dp=4",
            "plan.tp=4",
            "plan.pp=2",
            "plan.sequence_parallel=true",
            "plan.zero=1",
            "training.global_batch=32",
        ],
    );
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10);
    for (name, scenario, detail) in [
        ("folded/llama3-405b-16384", &large, Detail::Folded),
        ("kernels/llama3-70b-64", &middle, Detail::Kernels),
        ("unfolded/llama3-8b-32", &small, Detail::Unfolded),
    ] {
        let events = simulate(scenario, detail).map_or(0, |prediction| prediction.event_count);
        group.throughput(Throughput::Elements(events));
        group.bench_function(name, |bencher| {
            bencher.iter(|| simulate(black_box(scenario), detail));
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
