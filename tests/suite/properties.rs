//! What must hold for every plan: conservation, causality, monotony, determinism.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use stepcast::plan::Layout;
use stepcast::program::{
    Action, Launch, Program, RankSelection, Step, Stream, WorkId, WorkKind, expand, lower, verify,
};
use stepcast::sim::{Costs, Machine, Ports, Record, WorkCost, run};
use stepcast::spec::Scenario;
use stepcast::timeline::{Lane, Span, Timeline};
use stepcast::units::{BytesPerSecond, FlopsPerSecond, Instant, Seconds};
use stepcast::work::{CollectiveKind, Pass};
use stepcast::{Detail, Prediction};

use crate::scenarios::{lowered, predict, scenario, small_llama};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

/// The launches of a role, blocks opened.
fn launches(program: &Program, role: usize) -> Vec<Launch> {
    let steps = &expand(program).roles[role].steps;
    let launch = |step: &Step| match step {
        Step::Launch(launch) => Some(*launch),
        Step::Host { .. } | Step::Synchronize { .. } | Step::Signal { .. } => None,
    };
    steps.iter().filter_map(launch).collect()
}

fn work_of(action: Action) -> WorkId {
    match action {
        Action::Work(work) | Action::Send { work, .. } | Action::Receive { work, .. } => work,
        Action::Block(_) | Action::OpenBlock(_) => unreachable!("blocks are opened"),
    }
}

/// Arithmetic of all kernels of all ranks in a step.
fn kernel_flops(scenario: &Scenario) -> f64 {
    let layout = Layout::new(scenario).unwrap_or_else(|error| panic!("{error}"));
    let program = lower(scenario, &layout, RankSelection::Representatives);
    let mut sum = 0.0;
    for entry in &program.ranks {
        for launch in launches(&program, entry.role) {
            if let WorkKind::Kernel(kernel) = &program.work(work_of(launch.action)).kind {
                sum += kernel.flops().value() * entry.multiplicity as f64;
            }
        }
    }
    sum
}

/// A plan on up to 64 ranks, as lines of its table, and how it recomputes.
fn plans() -> impl Strategy<Value = (String, &'static str, &'static str)> {
    let axis = || prop::sample::select(vec![1u64, 2, 4]);
    let dp = prop::sample::select(vec![1u64, 2]);
    let cp_kind = prop::sample::select(vec!["ring", "all_gather", "ulysses"]);
    let schedule = prop::sample::select(vec!["gpipe", "1f1b", "interleaved"]);
    let recompute = prop::sample::select(vec![
        "recompute = 'none'",
        "recompute = 'selective'",
        "recompute = 'full'",
    ]);
    let stack = prop::sample::select(vec![
        "'megatron-core'",
        "'fsdp2-torchtitan'",
        "'megatron-deepspeed-2022'",
    ]);
    let zero = 0..4u64;
    (axis(), axis(), axis(), dp, any::<bool>(), cp_kind, schedule, recompute, stack, zero).prop_map(
        |(tp, cp, pp, dp, sequence, cp_kind, schedule, recompute, stack, zero)| {
            let schedule = if pp == 1 { "1f1b" } else { schedule };
            let chunks = if schedule == "interleaved" { 2 } else { 1 };
            let cp_kind = if stack.contains("2022") { "all_gather" } else { cp_kind };
            let cp_kind = if cp_kind == "ulysses" && tp * cp > 8 { "ring" } else { cp_kind };
            let sequence = sequence && tp > 1;
            // What is sharded over one rank only, or over a pipeline's replays, is not a plan.
            let zero = if dp * cp == 1 { 0 } else { zero };
            let lines = format!(
                "tp = {tp}\ncp = {cp}\npp = {pp}\ndp = {dp}\nsequence_parallel = {sequence}\n\
                 cp_kind = '{cp_kind}'\nschedule = '{schedule}'\nvirtual_stages = {chunks}\n\
                 zero = {zero}\n"
            );
            (lines, recompute, stack)
        },
    )
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn flops_are_conserved_under_every_sharding((plan, recompute, stack) in plans()) {
        let cut = format!("{plan}{recompute}\n");
        let flops = kernel_flops(&scenario(&small_llama(16, stack, &cut, [1, 16])));
        let whole = format!("dp = 1\n{recompute}\n");
        let expected = kernel_flops(&scenario(&small_llama(16, stack, &whole, [1, 16])));
        prop_assert!((flops / expected - 1.0).abs() < 1e-9, "{} of {}", flops, expected);
    }

    #[test]
    fn memory_returns_to_its_start_after_a_step((plan, recompute, stack) in plans()) {
        let cut = format!("{plan}{recompute}\n");
        let scenario = scenario(&small_llama(16, stack, &cut, [1, 16]));
        let layout = Layout::new(&scenario).expect("a plan that works");
        let program = lower(&scenario, &layout, RankSelection::Representatives);
        prop_assert_eq!(verify(&program), Ok(()));
        let costs = uneven_costs(&program);
        let outcome = run(&expand(&program), &costs, &FREE_HOST).expect("it ends");
        for peak in outcome.memory {
            let most = (peak.activations + peak.buffers).value();
            prop_assert!(peak.activations.value() > 0.0);
            // Sums of floats leave less than a millionth of what was held.
            let bound = 1.0 + 1e-6 * most;
            prop_assert!(peak.activations_left.value().abs() < bound, "{:?}", peak);
            prop_assert!(peak.buffers_left.value().abs() < bound, "{:?}", peak);
        }
    }
}

/// Some time for each work, different from its neighbours'.
fn uneven_costs(program: &Program) -> Costs {
    let cost = |index: usize| WorkCost {
        time: Seconds::new(1e-6 * (1.0 + (index * 7 % 13) as f64)),
        launch: Seconds::ZERO,
        delay: Seconds::ZERO,
        slowdown: 1.2,
        ports: Ports::default(),
    };
    Costs { works: (0..program.works.len()).map(cost).collect(), blocks: Vec::new() }
}

const FREE_HOST: Machine = Machine {
    host: None,
    communication_slowdown: 1.1,
    dispatch_gap: Seconds::ZERO,
    record: Record::Devices,
};

/// An unfused model counts all scores, so that the kernels do just what the model needs.
#[test]
fn unfused_kernels_do_the_flops_of_the_model() {
    let text = small_llama(1, "'megatron-deepspeed-2022'", "tp = 2", [1, 16]);
    let scenario = scenario(&text);
    let graph = stepcast::graph::Graph::build(&scenario.model, &scenario.stack, &scenario.training);
    let expected = graph.model_flops(4096).value() * 16.0;
    let found = kernel_flops(&scenario);
    assert!((found / expected - 1.0).abs() < 1e-9, "{found:e} of {expected:e}");
}

/// Bytes that a ring of a large group sends a rank, in units of the collective's bytes: an
/// all-reduce is a reduce-scatter and an all-gather.
fn wire_bytes(scenario: &Scenario, keep: impl Fn(&str, Pass) -> bool) -> f64 {
    let (_, program) = lowered(scenario);
    let mut sum = 0.0;
    for launch in launches(&program, 0) {
        let work = program.work(work_of(launch.action));
        if let WorkKind::Collective { collective, .. } = work.kind
            && keep(&work.label, work.pass)
        {
            let times = if collective.kind == CollectiveKind::AllReduce { 2.0 } else { 1.0 };
            sum += collective.bytes.value() * times;
        }
    }
    sum
}

/// Sequence parallelism replaces each all-reduce by a reduce-scatter and an all-gather, and gathers
/// once more in backward the inputs of the column-parallel layers: qkv and MLP of each layer, and
/// the logits (Korthikanti et al. 2022, section 4.2.2).
#[test]
fn sequence_parallelism_moves_the_bytes_of_tensor_parallelism() {
    let with = |sequence: bool| {
        let plan = format!("tp = 8\nsequence_parallel = {sequence}");
        scenario(&small_llama(1, "'megatron-core'", &plan, [1, 4]))
    };
    let forward = |label: &str, pass| label.starts_with("tp ") && pass == Pass::Forward;
    let (plain, sequence) = (wire_bytes(&with(false), forward), wire_bytes(&with(true), forward));
    assert!((sequence / plain - 1.0).abs() < 1e-12, "forward: {sequence} of {plain}");
    let backward = |label: &str, pass| {
        label.starts_with("tp ") && label != "tp norm gradients" && pass == Pass::Backward
    };
    let (plain, sequence) = (wire_bytes(&with(false), backward), wire_bytes(&with(true), backward));
    let gathers_again = 4.0 * (2.0 * 8.0 + 1.0) * 4096.0 * 4096.0 * 2.0;
    assert!(plain > 0.0 && gathers_again > 0.0);
    assert!(((sequence - gathers_again) / plain - 1.0).abs() < 1e-12, "backward: {sequence}");
}

/// ZeRO 1 moves what plain data parallelism moves, ZeRO 3 that and the parameters of the layers
/// once more (Rajbhandari et al. 2020, section 7), when all travels in one format.
#[test]
fn sharded_data_parallelism_moves_the_bytes_of_the_textbook() {
    let with = |zero: u64| {
        let stack = "{ base = 'fsdp2-torchtitan', parameter_gather_dtype = 'fp32' }";
        scenario(&small_llama(1, stack, &format!("zero = {zero}"), [1, 8]))
    };
    let data = |label: &str, _| label.starts_with("dp ") || label.starts_with("fsdp");
    let whole = 2.0 * 4.0 * with(0).model.parameters();
    let layers = 4.0 * 8.0 * with(0).model.layer_parameters(0).total();
    for (zero, expected) in [(0, whole), (1, whole), (2, whole), (3, whole + layers)] {
        let found = wire_bytes(&with(zero), data);
        assert!((found / expected - 1.0).abs() < 1e-9, "zero {zero}: {found} of {expected}");
    }
}

/// A plan whose communication never runs beside compute or other communication: there doing one
/// thing sooner cannot make it meet another that slows it.
fn uncontended() -> Vec<(&'static str, Scenario)> {
    let serial = "{ base = 'megatron-core', overlap_gradient_reduce = false, \
                  overlap_parameter_gather = false, overlap_tp_wgrad = false, \
                  overlap_p2p = false }";
    let tiny = "model = 'mpt-125m'\n\
                cluster = { base = 'dgx-h100-ndr', node_count = 2, nodes_per_leaf = 1 }\n\
                stack = 'nanotron'\n[plan]\ntp = 4\nzero = 0\n[training]\nsequence_length = 2048\n\
                micro_batch = 1\nglobal_batch = 16\nprecision = 'bf16'\n";
    let on = |plan: &str, batch| scenario(&small_llama(2, serial, plan, batch));
    vec![
        ("dp", on("zero = 1\noffload_optimizer = true", [1, 16])),
        ("tp", on("tp = 8\nsequence_parallel = true\nzero = 1", [1, 8])),
        ("pp", on("tp = 2\npp = 4\nzero = 1", [1, 16])),
        ("cp", on("cp = 4\ncp_kind = 'all_gather'", [1, 8])),
        ("host-bound", scenario(tiny)),
        ("fp32", scenario(&small_llama(2, serial, "tp = 2", [1, 8]).replace("bf16", "fp32"))),
    ]
}

/// A rate and how to double it.
type Doubling = (&'static str, fn(&mut Scenario));

fn twice(rate: &mut BytesPerSecond) {
    *rate = *rate * 2.0;
}

fn twice_flops(rate: &mut FlopsPerSecond) {
    *rate = *rate * 2.0;
}

fn half(time: &mut Seconds) {
    *time = *time / 2.0;
}

const DOUBLINGS: [Doubling; 17] = [
    ("memory bandwidth", |it| twice(&mut it.cluster.gpu.memory_bandwidth)),
    ("fp32", |it| twice_flops(&mut it.cluster.gpu.peak_fp32)),
    ("tf32", |it| it.cluster.gpu.peak_tf32.iter_mut().for_each(twice_flops)),
    ("fp16", |it| twice_flops(&mut it.cluster.gpu.peak_fp16)),
    ("bf16", |it| it.cluster.gpu.peak_bf16.iter_mut().for_each(twice_flops)),
    ("scale-up bandwidth", |it| twice(&mut it.cluster.scale_up_bandwidth)),
    ("NIC bandwidth", |it| twice(&mut it.cluster.nic_bandwidth)),
    ("host bandwidth", |it| twice(&mut it.cluster.host_bandwidth)),
    ("scale-up latency", |it| half(&mut it.cluster.scale_up_latency)),
    ("network latency", |it| half(&mut it.cluster.network_latency)),
    ("spine latency", |it| half(&mut it.cluster.spine_latency)),
    ("kernel floor", |it| half(&mut it.cluster.gpu.kernel_floor)),
    ("launch latency", |it| half(&mut it.cluster.gpu.launch_latency)),
    ("forward launches", |it| half(&mut it.stack.launch_cost)),
    ("backward launches", |it| half(&mut it.stack.backward_launch_cost)),
    ("collective launches", |it| half(&mut it.stack.collective_launch_cost)),
    ("host work", |it| {
        half(&mut it.stack.step_host_time);
        half(&mut it.stack.micro_batch_host_time);
    }),
];

/// Step time with a rate doubled over step time without, by rate.
fn speedups(scenario: &Scenario, detail: Detail) -> Vec<(&'static str, f64)> {
    // What was learned on one GPU says nothing of another in order: closed forms only.
    let bare = Scenario { measured: Vec::new(), ..scenario.clone() };
    let scenario = &bare;
    let time = |scenario: &Scenario| predict(scenario, detail).summary.step_time_s;
    let before = time(scenario);
    DOUBLINGS
        .iter()
        .map(|(name, double)| {
            let mut faster = scenario.clone();
            double(&mut faster);
            (*name, time(&faster) / before)
        })
        .collect()
}

#[test]
fn doubling_any_rate_never_slows_an_uncontended_step() {
    let mut slower = String::new();
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for (plan, scenario) in uncontended() {
        for detail in [Detail::Folded, Detail::Kernels] {
            for (rate, ratio) in speedups(&scenario, detail) {
                let least = best.entry(rate).or_insert(f64::INFINITY);
                *least = least.min(ratio);
                if ratio > 1.0 + 1e-9 || ratio.is_nan() {
                    slower += &format!("\n{plan}, {detail:?}, twice the {rate}: {ratio:.9}");
                }
            }
        }
    }
    println!("{best:#?}");
    assert!(slower.is_empty(), "{slower}");
    // A rate that never matters would make the test say nothing about it.
    for (rate, ratio) in best {
        let without = ["fp32"];
        assert!(ratio < 1.0 || without.contains(&rate), "{rate} matters nowhere: {ratio}");
    }
}

/// Beside others, faster work can meet what slows it (Graham 1969): little, but not nothing.
#[test]
fn doubling_a_rate_slows_a_contended_step_by_half_a_percent_at_most() {
    let mut table = String::new();
    let mut worst: f64 = 0.0;
    let plans = [
        small_llama(
            2,
            "'megatron-core'",
            "tp = 4\npp = 2\nsequence_parallel = true\nzero = 1",
            [1, 16],
        ),
        small_llama(2, "'fsdp2-torchtitan-compile'", "zero = 3", [1, 16]),
        small_llama(2, "'megatron-core'", "cp = 4\nzero = 2", [1, 16]),
    ];
    for text in plans {
        for (rate, ratio) in speedups(&scenario(&text), Detail::Kernels) {
            worst = worst.max(ratio - 1.0);
            if ratio > 1.0 + 1e-9 {
                table += &format!("\ntwice the {rate}: {ratio:.6}");
            }
        }
    }
    println!("contended steps that got slower:{table}");
    assert!(worst < 0.005, "{table}");
}

/// Scenarios with everything in them, small enough for every rank.
fn busy() -> Vec<Scenario> {
    vec![
        scenario(&small_llama(
            2,
            "'megatron-core'",
            "tp = 2\ncp = 2\npp = 2\nsequence_parallel = true\nzero = 1",
            [1, 8],
        )),
        scenario(&small_llama(1, "'fsdp2-torchtitan-compile'", "zero = 3\npp = 2", [1, 16])),
        scenario(&small_llama(
            1,
            "'megatron-core'",
            "pp = 4\nschedule = 'interleaved'\nvirtual_stages = 2\nzero = 1",
            [1, 16],
        )),
        scenario(&small_llama(1, "'megatron-2022'", "tp = 2\npp = 4", [1, 8])),
    ]
}

fn compute_time(timeline: &Timeline, process: u32, keep: impl Fn(&Span) -> bool) -> f64 {
    let spans = timeline.lane(process, Lane::Compute).filter(|span| keep(span));
    spans.map(|span| (span.end - span.start).value()).sum()
}

#[test]
fn a_step_is_no_shorter_than_the_work_of_any_rank() {
    for scenario in busy() {
        let Prediction { timeline, summary, .. } = predict(&scenario, Detail::Unfolded);
        for process in 0..timeline.processes.len() as u32 {
            let busy = compute_time(&timeline, process, |_| true);
            assert!(busy > 0.0 && busy <= summary.step_time_s, "{busy} of {}", summary.step_time_s);
        }
    }
}

/// A stage runs all its micro-batches after a first has come down the stages before it, and a last
/// has its way back through them: sum over earlier stages of (f + b), plus its own work.
#[test]
fn a_pipelined_step_is_no_shorter_than_its_pipeline() {
    for text in [
        small_llama(1, "'megatron-core'", "pp = 4\nzero = 1", [1, 16]),
        small_llama(1, "'megatron-2022'", "pp = 4\nstage_layers = [1, 2, 2, 3]", [1, 16]),
    ] {
        let scenario = scenario(&text);
        let Prediction { timeline, summary, .. } = predict(&scenario, Detail::Kernels);
        let way = |stage: u32| -> f64 {
            let of = |pass, micro_batch| {
                let is = move |span: &Span| {
                    span.task.is_some_and(|it| (it.pass, it.micro_batch) == (pass, micro_batch))
                };
                compute_time(&timeline, stage, is)
            };
            let least = |pass| (0..8).map(|index| of(pass, index)).fold(f64::INFINITY, f64::min);
            least(Pass::Forward) + least(Pass::Backward)
        };
        let mut before = 0.0;
        for stage in 0..4 {
            let own = compute_time(&timeline, stage, |span| span.task.is_some());
            assert!(way(stage) > 0.0);
            assert!(before + own <= summary.step_time_s, "stage {stage}: {before} and {own}");
            before += way(stage);
        }
    }
}

/// The spans of each stream of each rank, in order, beside the launches of that stream.
fn by_stream<'a>(
    timeline: &'a Timeline,
    program: &Program,
    process: usize,
) -> Vec<(Launch, &'a Span)> {
    let launches = launches(program, program.ranks[process].role);
    let mut pairs = Vec::new();
    for stream in Stream::ALL {
        let lane = stream.lane();
        let on_stream = launches.iter().filter(|launch| launch.stream == stream);
        let spans: Vec<&Span> = timeline.lane(process as u32, lane).collect();
        assert_eq!(on_stream.clone().count(), spans.len(), "{stream:?} of {process}");
        pairs.extend(on_stream.copied().zip(spans));
    }
    pairs
}

#[test]
fn nothing_happens_before_its_cause() {
    for scenario in busy() {
        let (_, program) = lowered(&scenario);
        let Prediction { timeline, .. } = predict(&scenario, Detail::Unfolded);
        for process in 0..program.ranks.len() {
            let pairs = by_stream(&timeline, &program, process);
            let mut recorded: BTreeMap<u32, Instant> = BTreeMap::new();
            for (launch, span) in &pairs {
                recorded.insert(launch.records.0, span.end);
            }
            for (launch, span) in &pairs {
                assert!(span.launched <= span.ready && span.ready <= span.start, "{span:?}");
                assert!(span.start <= span.end, "{span:?}");
                for event in launch.waits.iter() {
                    assert!(recorded[&event.0] <= span.ready, "{span:?} before {event:?}");
                }
            }
            for (one, next) in pairs.iter().zip(&pairs[1..]) {
                let same = one.0.stream == next.0.stream;
                assert!(!same || one.1.end <= next.1.start, "{:?} and {:?}", one.1, next.1);
            }
        }
        let span = |id: stepcast::timeline::SpanId| &timeline.spans[id.0 as usize];
        let mut transfers = 0;
        for arrow in &timeline.arrows {
            let (send, receive) = (span(arrow.from), span(arrow.to));
            if send.lane == stepcast::timeline::Lane::Host {
                assert!(send.process == receive.process && send.start <= receive.launched);
                continue;
            }
            transfers += 1;
            assert!(receive.start >= send.ready, "{send:?} and {receive:?}");
            assert_eq!((send.start, send.end), (receive.start, receive.end));
            assert_ne!(send.process, receive.process);
        }
        assert!(scenario.plan.pp == 1 || transfers > 0);
    }
}

/// All that a prediction says, as text.
fn written(scenario: &Scenario, detail: Detail) -> String {
    let prediction = predict(scenario, detail);
    let summary = serde_json::to_string(&prediction.summary).expect("numbers and names");
    let timeline = &prediction.timeline;
    format!("{summary}{:?}{:?}{:?}", timeline.spans, timeline.memory, timeline.arrows)
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    for scenario in busy() {
        for detail in [Detail::Folded, Detail::Unfolded] {
            let first = written(&scenario, detail);
            assert!(first == written(&scenario, detail), "two runs differ: {detail:?}");
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("a pool of threads");
                let other = pool.install(|| written(&scenario, detail));
                assert!(first == other, "{threads} threads differ: {detail:?}");
            }
        }
    }
}
