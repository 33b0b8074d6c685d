//! Every kind of plan, three ways: folded, kernel by kernel on one rank a stage, and unfolded on
//! all ranks. The first two exist for speed; the third is their judge.

use stepcast::Detail;

use crate::scenarios::{predict, scenario, small_deepseek, small_llama, small_mixtral};

/// Largest difference of a folded step time from the unfolded one.
const TOLERANCE: f64 = 0.005;
/// Largest difference of the step of one rank a stage from that of all ranks: equal ranks do equal
/// things at equal times, but for rounding to picoseconds.
const SINGLE_RANK_TOLERANCE: f64 = 1e-5;

const CORE: &str = "'megatron-core'";
const FSDP: &str = "'fsdp2-torchtitan-compile'";

fn core(nodes: u64, plan: &str, batch: [u64; 2]) -> String {
    small_llama(nodes, CORE, plan, batch)
}

/// A stack with some keys changed.
fn changed(stack: &str, keys: &str) -> String {
    format!("{{ base = {stack}, {keys} }}")
}

/// MPT on one node: small enough that the host sets the pace.
fn tiny(stack: &str, plan: &str, micro: u64, global: u64) -> String {
    format!(
        "model = 'mpt-125m'\ncluster = {{ base = 'dgx-h100-ndr', node_count = 1 }}\n\
         stack = {stack}\n[plan]\n{plan}\n[training]\nsequence_length = 2048\n\
         micro_batch = {micro}\nglobal_batch = {global}\nprecision = 'bf16'\n"
    )
}

fn data_parallel() -> Vec<(&'static str, String)> {
    vec![
        ("dp, zero 0", core(1, "zero = 0", [1, 16])),
        ("dp, zero 1", core(1, "zero = 1", [1, 16])),
        ("dp, zero 2", core(1, "zero = 2", [1, 16])),
        ("dp, zero 3", small_llama(1, FSDP, "zero = 3", [1, 8])),
        ("dp, zero 3, two micro-batches", small_llama(1, FSDP, "zero = 3", [1, 16])),
        (
            "dp, zero 3, kept after forward",
            small_llama(1, FSDP, "zero = 3\nreshard_after_forward = false", [1, 8]),
        ),
        ("hsdp", small_llama(2, FSDP, "zero = 3\nshard_group = 8", [1, 16])),
        ("zero 1 in groups", core(2, "zero = 1\nshard_group = 8", [1, 32])),
        (
            "zero 3 with tp",
            small_llama(1, FSDP, "tp = 2\nzero = 3\nsequence_parallel = true", [1, 8]),
        ),
        ("gradient accumulation", core(1, "zero = 1", [1, 64])),
        ("optimizer on the host", core(1, "zero = 1\noffload_optimizer = true", [1, 8])),
        (
            "no overlap",
            small_llama(
                1,
                &changed(CORE, "overlap_gradient_reduce = false, overlap_parameter_gather = false"),
                "zero = 1",
                [1, 16],
            ),
        ),
        (
            "whole reduction",
            small_llama(1, &changed(CORE, "gradient_reduce = 'whole'"), "zero = 0", [1, 16]),
        ),
    ]
}

fn tensor_parallel() -> Vec<(&'static str, String)> {
    let overlapped = changed(CORE, "overlap_tp_fraction = 0.7");
    vec![
        ("tp", core(1, "tp = 8", [1, 4])),
        ("tp with sequence parallelism", core(1, "tp = 8\nsequence_parallel = true", [1, 4])),
        ("tp overlapped", small_llama(1, &overlapped, "tp = 8\nsequence_parallel = true", [1, 4])),
        ("tp and dp", core(1, "tp = 4\nsequence_parallel = true\nzero = 1", [1, 8])),
        ("tp and dp, zero 2", core(2, "tp = 4\nsequence_parallel = true\nzero = 2", [1, 16])),
    ]
}

fn pipelines() -> Vec<(&'static str, String)> {
    let blocking = changed(CORE, "overlap_p2p = false");
    let interleaved = "pp = 4\nschedule = 'interleaved'\nvirtual_stages = 2";
    let tied = tiny(CORE, "pp = 4\ndp = 2\nzero = 1", 8, 128);
    vec![
        ("gpipe", core(1, "pp = 4\nschedule = 'gpipe'\nzero = 1", [1, 16])),
        ("1f1b", core(1, "pp = 4\nzero = 1", [1, 16])),
        ("1f1b, blocking", small_llama(1, &blocking, "pp = 4\nzero = 1", [1, 16])),
        ("interleaved", core(1, interleaved, [1, 16])),
        ("interleaved, blocking", small_llama(1, &blocking, interleaved, [1, 16])),
        (
            "interleaved, blocking, zero 3",
            small_llama(
                1,
                "'megatron-deepspeed-2022'",
                &format!("{interleaved}\nzero = 3"),
                [1, 16],
            ),
        ),
        ("3d", core(4, "tp = 4\npp = 4\nsequence_parallel = true\nzero = 1", [1, 16])),
        ("3d, scattered transfers", core(2, "tp = 4\npp = 4\nzero = 1", [1, 8])),
        ("uneven stages", core(1, "pp = 4\nstage_layers = [1, 3, 2, 2]\nzero = 1", [1, 16])),
        (
            "stages without layers",
            core(1, "pp = 4\nstage_layers = [4, 0, 4, 0]\nzero = 1", [1, 16]),
        ),
        ("tied embeddings", tied),
        ("pp and zero 2", core(1, "pp = 2\nzero = 2", [1, 16])),
        ("pp and zero 3", small_llama(1, FSDP, "pp = 2\nzero = 3", [1, 16])),
    ]
}

fn context_parallel() -> Vec<(&'static str, String)> {
    let cp = |kind: &str| core(1, &format!("cp = 4\ncp_kind = '{kind}'\nzero = 1"), [1, 8]);
    vec![
        ("cp ring", cp("ring")),
        ("cp all-gather", cp("all_gather")),
        ("cp ulysses", cp("ulysses")),
        (
            "cp ring, tp and pp",
            core(2, "tp = 2\ncp = 2\npp = 2\nsequence_parallel = true\nzero = 1", [1, 8]),
        ),
        ("cp ring, zero 3", small_llama(1, FSDP, "cp = 2\nzero = 3", [1, 8])),
    ]
}

fn recomputing() -> Vec<(&'static str, String)> {
    let with = |lines: &str| core(1, &format!("pp = 2\nzero = 1\n{lines}"), [1, 16]);
    vec![
        ("recompute selective", with("recompute = 'selective'")),
        ("recompute full", with("recompute = 'full'")),
        ("recompute some layers", with("recompute = 'full'\nrecompute_layers = 2")),
    ]
}

fn precisions() -> Vec<(&'static str, String)> {
    let plan = "tp = 2\nsequence_parallel = true\nzero = 1";
    let in_format = |precision: &str, cluster: &str| {
        core(1, plan, [1, 16])
            .replace("'bf16'", &format!("'{precision}'"))
            .replace("dgx-h100-ndr", cluster)
    };
    vec![
        ("fp8", in_format("fp8", "dgx-h100-ndr")),
        ("fp8 rowwise", in_format("fp8_rowwise", "dgx-h100-ndr")),
        ("fp8 blockwise", in_format("fp8_blockwise", "dgx-h100-ndr")),
        ("mxfp8", in_format("mxfp8", "dgx-b200-ndr")),
        ("nvfp4", in_format("nvfp4", "dgx-b200-ndr")),
        ("fp16", in_format("fp16", "dgx-a100-hdr")),
        ("fp32", in_format("fp32", "dgx-h100-ndr")),
    ]
}

fn stacks() -> Vec<(&'static str, String)> {
    let small = |stack: &str, plan: &str| small_llama(1, &format!("'{stack}'"), plan, [1, 16]);
    vec![
        ("deepspeed-zero", small("deepspeed-zero", "zero = 3")),
        ("deepspeed-zero, zero 2", small("deepspeed-zero", "zero = 2")),
        ("fsdp1", small("fsdp1", "zero = 3")),
        ("fsdp2-torchtitan", small("fsdp2-torchtitan", "zero = 3")),
        ("fsdp2-torchtitan-compile", small("fsdp2-torchtitan-compile", "zero = 3\ntp = 2")),
        ("megatron-2022", small("megatron-2022", "tp = 2\npp = 2")),
        ("megatron-core", small("megatron-core", "tp = 2\npp = 2\nzero = 1")),
        ("megatron-deepspeed-2022", small("megatron-deepspeed-2022", "tp = 2\npp = 2\nzero = 1")),
        ("nanotron", small("nanotron", "tp = 2\npp = 2\nzero = 1")),
    ]
}

fn experts() -> Vec<(&'static str, String)> {
    let with = |nodes: u64, plan: &str, batch| small_mixtral(nodes, CORE, plan, batch);
    let deepep = changed(CORE, "dispatcher = 'deepep'");
    let hidden = changed(CORE, "dispatcher = 'hybridep', overlap_exchange_fraction = 0.7");
    let beside = changed(CORE, "overlap_shared_experts = true");
    let window = small_deepseek(1, CORE, "ep = 4\nzero = 1", [1, 16])
        .replace("dense_layers = 1 }", "every = 2 }, sliding_window = { tokens = 512, every = 2 }");
    vec![
        ("experts, ep 1", with(1, "zero = 1", [1, 16])),
        ("experts, ep 8", with(1, "ep = 8\nzero = 1", [1, 16])),
        ("experts, ep 4, zero 0", with(1, "ep = 4\nzero = 0", [1, 16])),
        ("experts, ep 2, zero 2", with(1, "ep = 2\nzero = 2", [1, 16])),
        ("experts, ep 4, zero 3", small_mixtral(1, FSDP, "ep = 4\nzero = 3", [1, 16])),
        (
            "experts across nodes",
            with(2, "ep = 8\ntp = 2\nsequence_parallel = true\nzero = 1", [1, 16]),
        ),
        ("experts cut", with(1, "ep = 4\ntp = 2\nsequence_parallel = true\nzero = 1", [1, 8])),
        (
            "experts whole, tp",
            with(1, "ep = 4\ntp = 2\netp = 1\nsequence_parallel = true\nzero = 1", [1, 8]),
        ),
        ("experts, pp and cp", with(2, "ep = 4\npp = 2\ncp = 2\nzero = 1", [1, 16])),
        (
            "experts, deepep",
            small_mixtral(2, &deepep, "ep = 16\nzero = 1", [1, 16]).replace(
                "parameter_count = 6.067e9",
                "parameter_count = 1.23e10, experts = { count = 16, top_k = 2, ffn_size = 14336 }",
            ),
        ),
        (
            "experts, hidden exchange",
            small_mixtral(1, &hidden, "ep = 8\npp = 1\nzero = 1", [1, 16]),
        ),
        ("latent attention", small_deepseek(1, CORE, "ep = 8\nzero = 1", [1, 16])),
        ("latent attention, pp", small_deepseek(1, CORE, "ep = 4\npp = 2\nzero = 1", [1, 16])),
        (
            "latent attention, interleaved",
            small_deepseek(
                1,
                CORE,
                "ep = 4\npp = 2\nschedule = 'interleaved'\nvirtual_stages = 2\nzero = 1",
                [1, 16],
            ),
        ),
        ("shared experts beside", small_deepseek(1, &beside, "ep = 8\nzero = 1", [1, 16])),
        (
            "latent, tp, full recompute",
            small_deepseek(
                1,
                CORE,
                "ep = 2\ntp = 4\nsequence_parallel = true\nzero = 1\nrecompute = 'full'",
                [1, 4],
            ),
        ),
        ("windows and every other", window),
    ]
}

fn host_bound() -> Vec<(&'static str, String)> {
    vec![
        ("host-bound, zero 0", tiny(CORE, "zero = 0", 1, 32)),
        ("host-bound, zero 3", tiny("'fsdp2-torchtitan'", "zero = 3", 1, 8)),
        ("host-bound, zero 2", tiny(CORE, "zero = 2", 1, 32)),
        ("host-bound, tp", tiny(CORE, "tp = 4\nsequence_parallel = true", 1, 4)),
        ("host-bound, pp", tiny(CORE, "pp = 4\nzero = 1", 1, 16)),
        (
            "host-bound, interleaved",
            tiny(CORE, "pp = 4\nschedule = 'interleaved'\nvirtual_stages = 3", 1, 16),
        ),
        ("CUDA graphs", tiny(&changed(CORE, "cuda_graph = true"), "zero = 1", 1, 32)),
        ("shallow queue", tiny(&changed(CORE, "launch_queue_depth = 32"), "zero = 1", 2, 32)),
    ]
}

#[test]
fn folded_and_single_rank_steps_are_the_unfolded_step_on_every_plan_kind() {
    let groups = [
        data_parallel(),
        tensor_parallel(),
        pipelines(),
        context_parallel(),
        recomputing(),
        precisions(),
        stacks(),
        experts(),
        host_bound(),
    ];
    let mut table = String::new();
    let mut missed = 0;
    for (name, text) in groups.into_iter().flatten() {
        let scenario = scenario(&text);
        let judge = predict(&scenario, Detail::Unfolded);
        let time = judge.summary.step_time_s;
        let deviation = |detail| predict(&scenario, detail).summary.step_time_s / time - 1.0;
        let (folded, kernels) = (deviation(Detail::Folded), deviation(Detail::Kernels));
        // Negated, so that a step time that is not a number is a miss.
        let near = folded.abs() <= TOLERANCE && kernels.abs() <= SINGLE_RANK_TOLERANCE;
        missed += usize::from(!near);
        table += &format!(
            "\n{}{name:>32}: {:9.3} ms, folded {:+.3} %, kernels {:+.3} %, {} events",
            if near { ' ' } else { '!' },
            1e3 * time,
            100.0 * folded,
            100.0 * kernels,
            judge.event_count,
        );
    }
    println!("{table}");
    assert_eq!(missed, 0, "more than {} % off:{table}", 100.0 * TOLERANCE);
}

#[test]
fn very_many_open_launches_are_folded_with_a_warning_and_near_the_truth() {
    // Tensor-parallel blocks beside the gradient reduction of every micro-batch.
    let step = |micro_batches: u64| {
        let text = small_llama(1, "'megatron-core'", "tp = 4\nzero = 2", [1, 2 * micro_batches]);
        predict(&scenario(&text), Detail::Folded).summary
    };
    let (few, many) = (step(64), step(4096));
    assert!(few.warnings.is_empty(), "{:?}", few.warnings);
    assert!(many.warnings[0].contains("folded all the same"), "{:?}", many.warnings);
    let deviation = many.step_time_s / (64.0 * few.step_time_s) - 1.0;
    assert!(deviation.abs() < 0.03, "{:+.2} %", 100.0 * deviation);
}

#[test]
fn no_pipeline_hangs_however_short_its_steady_state() {
    for pp in [2, 3, 4, 6, 8] {
        for (chunks, rounds) in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (5, 2)] {
            for overlap in [false, true] {
                let stack = format!("{{ base = 'megatron-core', overlap_p2p = {overlap} }}");
                let layers = pp * chunks;
                let plan = format!(
                    "dp = 1\npp = {pp}\nvirtual_stages = {chunks}\nschedule = 'interleaved'"
                );
                let text = small_llama(1, &stack, &plan, [1, pp * rounds])
                    .replace("layer_count = 8", &format!("layer_count = {layers}"));
                let scenario = scenario(&text);
                // `predict` fails the test on a deadlock.
                let times = [Detail::Folded, Detail::Kernels]
                    .map(|detail| predict(&scenario, detail).summary.step_time_s);
                assert!((times[0] / times[1] - 1.0).abs() < TOLERANCE, "{times:?}\n{text}");
            }
        }
    }
}
