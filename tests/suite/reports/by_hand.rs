//! A step of four stages and six micro-batches under 1F1B, laid out by hand: a forward takes
//! 10 ms, a backward 20 ms, a transfer 1 ms, the optimizer 5 ms on each stage.

use std::path::Path;
use stepcast::analysis::{Evidence, StageMemory, StepErrors, StepFacts};
use stepcast::spec::{DataSources, Kind, Override, Scenario, load_text};
use stepcast::timeline::{
    Arrow, LabelId, Lane, MemorySample, Process, Span, SpanId, Task, Timeline,
};
use stepcast::units::{Bytes, Flops, FlopsPerSecond, Instant, Seconds};
use stepcast::work::{Axis, Class, Pass};

const STAGES: usize = 4;
const MICRO_BATCHES: u32 = 6;
const PS_PER_MS: u64 = 1_000_000_000;

pub(crate) fn scenario() -> Scenario {
    let mut sources = DataSources::shipped();
    for (kind, path, text) in [
        (Kind::Gpu, "test-gpu.toml", include_str!("../fixtures/gpu.toml")),
        (Kind::Cluster, "test-cluster.toml", include_str!("../fixtures/cluster.toml")),
        (Kind::Stack, "test-stack.toml", include_str!("../fixtures/stack.toml")),
    ] {
        sources.add(kind, Path::new(path), text.to_owned());
    }
    let changes = ["name=by hand", "plan.pp=4", "plan.tp=2"];
    let changes: Vec<Override> = changes.map(|it| Override::parse(it).unwrap()).into();
    load_text(&sources, "by-hand.toml", include_str!("../fixtures/scenario.toml"), &changes)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn facts() -> StepFacts {
    let gib = |size: f64| Bytes::new(size * 1024f64.powi(3));
    // The first stage holds the most micro-batches in flight and does not fit.
    let stage = |(stage, activations): (u64, f64)| StageMemory {
        stage,
        peak: gib(40.0 + activations),
        peak_reserved: gib(42.0 + activations),
        peak_allocated: gib(38.5 + activations),
        peak_cached: gib(40.5 + activations),
        weights: gib(8.0),
        gradients: gib(16.0),
        optimizer: gib(12.0),
        activations: gib(activations),
        buffers: gib(2.5),
        overhead: gib(1.5),
    };
    StepFacts {
        tokens: 49_152.0,
        gpu_count: 8,
        model_flops: Flops::new(8e14),
        hardware_flops: Flops::new(9e14),
        peak: FlopsPerSecond::new(1e15),
        step_time: Seconds::new(0.304),
        capacity: gib(80.0),
        memory: [(0, 40.0), (1, 30.0), (2, 10.0), (3, 10.0)].map(stage).into(),
        evidence: Evidence {
            fitted_fraction: 0.25,
            roofline_fraction: 0.75,
            ..Evidence::default()
        },
        errors: StepErrors {
            machine_compute: 0.08,
            machine_network: 0.12,
            ..StepErrors::default()
        },
        warnings: vec!["made by hand".to_owned()],
    }
}

/// The order of tasks of a stage: warm-up, one forward and one backward, cool-down.
fn order(stage: usize) -> Vec<(Pass, u32)> {
    let warm_up = (STAGES - 1 - stage) as u32;
    let mut order: Vec<(Pass, u32)> = (0..warm_up).map(|it| (Pass::Forward, it)).collect();
    for micro_batch in 0..MICRO_BATCHES {
        if micro_batch + warm_up < MICRO_BATCHES {
            order.push((Pass::Forward, micro_batch + warm_up));
        }
        order.push((Pass::Backward, micro_batch));
    }
    order
}

struct Builder {
    timeline: Timeline,
    free_at: [u64; STAGES],
    host_at: [u64; STAGES],
}

pub(crate) fn timeline() -> Timeline {
    let process = |stage| Process { rank: 2 * stage, stage: Some(stage), multiplicity: 2 };
    let timeline = Timeline { processes: (0..4).map(process).collect(), ..Timeline::default() };
    let mut builder = Builder { timeline, free_at: [0; STAGES], host_at: [0; STAGES] };
    let mut orders: Vec<_> = (0..STAGES).map(|it| order(it).into_iter().peekable()).collect();
    // When a task's input is there, by stage; the first stage's forwards need none.
    let mut arrived = std::collections::BTreeMap::new();
    while orders.iter_mut().any(|order| order.peek().is_some()) {
        for (stage, order) in orders.iter_mut().enumerate() {
            let Some(&(pass, micro_batch)) = order.peek() else { continue };
            let input = match (pass, stage) {
                (Pass::Forward, 0) => Some(0),
                (Pass::Backward, 3) => Some(builder.free_at[3]),
                _ => arrived.get(&(stage, pass, micro_batch)).copied(),
            };
            let Some(input) = input else { continue };
            order.next();
            let end = builder.compute(stage, pass, micro_batch, input);
            let next = match pass {
                Pass::Forward => Some(stage + 1).filter(|&next| next < STAGES),
                Pass::Backward => stage.checked_sub(1),
            };
            if let Some(next) = next {
                let there = builder.transfer(stage, next, pass, micro_batch, end);
                arrived.insert((next, pass, micro_batch), there);
            }
        }
    }
    let start = builder.free_at.into_iter().max().unwrap();
    for stage in 0..STAGES {
        let label = builder.timeline.labels.intern("optimizer");
        let launched = builder.launch(stage, label);
        let times = [launched, start, start, start + 5 * PS_PER_MS];
        builder.push(stage, Lane::Compute, label, Class::Optimizer, None, times);
    }
    builder.timeline
}

impl Builder {
    /// `times` are launched, ready, start and end.
    fn push(
        &mut self,
        stage: usize,
        lane: Lane,
        label: LabelId,
        class: Class,
        task: Option<Task>,
        times: [u64; 4],
    ) -> SpanId {
        let [launched, ready, start, end] = times.map(Instant::from_ps);
        self.timeline.spans.push(Span {
            process: stage as u32,
            lane,
            start,
            end,
            ready,
            launched,
            label,
            class,
            task,
            bytes: Bytes::new(if lane == Lane::Host { 0.0 } else { 64e6 }),
            call: None,
            breakdown: None,
        });
        SpanId(self.timeline.spans.len() as u32 - 1)
    }

    /// Half a millisecond of host time, far ahead of the device.
    fn launch(&mut self, stage: usize, label: LabelId) -> u64 {
        let start = self.host_at[stage];
        let end = start + PS_PER_MS / 2;
        self.push(stage, Lane::Host, label, Class::Host, None, [start, start, start, end]);
        self.host_at[stage] = end;
        end
    }

    fn compute(&mut self, stage: usize, pass: Pass, micro_batch: u32, input: u64) -> u64 {
        let (name, length_ms) = match pass {
            Pass::Forward => ("forward", 10),
            Pass::Backward => ("backward", 20),
        };
        let label = self.timeline.labels.intern(name);
        let launched = self.launch(stage, label);
        let start = self.free_at[stage].max(input).max(launched);
        let end = start + length_ms * PS_PER_MS;
        let task = Some(Task { pass, micro_batch, chunk: 0 });
        self.push(stage, Lane::Compute, label, Class::Gemm, task, [launched, start, start, end]);
        self.free_at[stage] = end;
        let allocated = Bytes::new(1e9 * f64::from(micro_batch + 1));
        let at = Instant::from_ps(end);
        self.timeline.memory.push(MemorySample { process: stage as u32, at, allocated });
        end
    }

    /// A transfer as both ends see it: the receiver has posted it long before.
    fn transfer(&mut self, from: usize, to: usize, pass: Pass, micro_batch: u32, at: u64) -> u64 {
        let name = if pass == Pass::Forward { "activations" } else { "gradients" };
        let label = self.timeline.labels.intern(name);
        let end = at + PS_PER_MS;
        let task = Some(Task { pass, micro_batch, chunk: 0 });
        let class = Class::Communication(Axis::Pp);
        let posted = self.free_at[to].min(at);
        let sent =
            self.push(from, Lane::Communication(Axis::Pp, 0), label, class, task, [0, at, at, end]);
        let received = self.push(
            to,
            Lane::Communication(Axis::Pp, 2),
            label,
            class,
            task,
            [0, posted, at, end],
        );
        self.timeline.arrows.push(Arrow { from: sent, to: received });
        end
    }
}
