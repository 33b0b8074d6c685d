//! Textbook results, each with its arithmetic: pipeline bubbles, memory of states and activations,
//! model FLOPs.

use stepcast::Detail;
use stepcast::graph::Graph;
use stepcast::plan::schedule::{PipelineShape, find};
use stepcast::plan::{Layout, stage_states};
use stepcast::program::{Action, Step, Stream, Tag, verify};
use stepcast::spec::{Scenario, Schedule};
use stepcast::timeline::Task;
use stepcast::work::Pass;

use crate::engine::{HandBuilt, NO_HOST, launch};
use crate::scenarios::{predict, scenario};

const FORWARD_US: f64 = 6.0;
const BACKWARD_US: f64 = 12.0;

/// Stage and chunk from which the input of a task comes.
fn source(stage: u32, task: Task, shape: PipelineShape) -> Option<(u32, u32)> {
    let (stages, chunks) = (shape.stage_count, shape.chunk_count);
    let place = task.chunk * stages + stage;
    let from = match task.pass {
        Pass::Forward => place.checked_sub(1)?,
        Pass::Backward if place + 1 < stages * chunks => place + 1,
        Pass::Backward => return None,
    };
    Some((from % stages, from / stages))
}

/// The step of a pipeline with equal stages and free communication, in microseconds.
fn pipeline_us(schedule: Schedule, shape: PipelineShape) -> f64 {
    let mut built = HandBuilt::default();
    let chunks = f64::from(shape.chunk_count);
    let forward = built.kernel("forward", FORWARD_US / chunks);
    let backward = built.kernel("backward", BACKWARD_US / chunks);
    let free = built.transfer(0, 1, 0.0);
    let tag = |task: Task, stage: u32, chunk: u32| Tag {
        pass: task.pass,
        micro_batch: task.micro_batch,
        chunk: chunk * shape.stage_count + stage,
    };
    for stage in 0..shape.stage_count {
        let mut steps: Vec<Step> = Vec::new();
        for (index, &task) in find(schedule).order(stage, shape).iter().enumerate() {
            let event = 3 * index as u32;
            let (work, receives, sends) = match task.pass {
                Pass::Forward => (forward, Stream::ReceiveForward, Stream::SendForward),
                Pass::Backward => (backward, Stream::ReceiveBackward, Stream::SendBackward),
            };
            let mut waits = Vec::new();
            if let Some((from, _)) = source(stage, task, shape) {
                let tag = tag(task, stage, task.chunk);
                let receive = Action::Receive { work: free, stage: from, tag };
                steps.push(launch(receive, receives, &[], event));
                waits.push(event);
            }
            steps.push(launch(Action::Work(work), Stream::Compute, &waits, event + 1));
            let opposite = match task.pass {
                Pass::Forward => Pass::Backward,
                Pass::Backward => Pass::Forward,
            };
            // Activations go to where the gradients of this task come from.
            if let Some((to, chunk)) = source(stage, Task { pass: opposite, ..task }, shape) {
                let tag = tag(task, to, chunk);
                let send = Action::Send { work: free, stage: to, tag };
                steps.push(launch(send, sends, &[event + 1], event + 2));
            }
        }
        built.rank(steps);
    }
    assert_eq!(verify(&built.program()), Ok(()));
    let outcome = built.run(&NO_HOST).unwrap_or_else(|error| panic!("{error}"));
    outcome.end.seconds().value() * 1e6
}

/// With forward f, backward b, p stages and m micro-batches a step takes (m + p - 1)(f + b): the
/// last stage is busy for m (f + b), and fill and drain cost (p - 1) f and (p - 1) b. The same for
/// GPipe, which differs in memory only (Narayanan et al. 2021, section 2.2).
#[test]
fn gpipe_and_1f1b_have_the_bubble_of_the_textbook() {
    for schedule in [Schedule::Gpipe, Schedule::OneForwardOneBackward] {
        for (stage_count, micro_batch_count) in [(1, 4), (2, 2), (4, 4), (4, 16), (8, 3), (8, 16)] {
            let shape = PipelineShape { stage_count, micro_batch_count, chunk_count: 1 };
            let slots = f64::from(micro_batch_count + stage_count - 1);
            let expected = slots * (FORWARD_US + BACKWARD_US);
            let step = pipeline_us(schedule, shape);
            assert!((step - expected).abs() < 1e-6, "{schedule:?} {shape:?}: {step} of {expected}");
        }
    }
}

/// With v chunks a stage fill and drain go chunk by chunk: m (f + b) + (p - 1)(f + b) / v
/// (Narayanan et al. 2021, section 2.2: the bubble is (p - 1) / (v m) of the rest).
#[test]
fn interleaving_divides_the_bubble_by_the_chunks() {
    for (stage_count, micro_batch_count, chunk_count) in
        [(2, 4, 2), (4, 4, 2), (4, 8, 3), (4, 16, 2), (8, 16, 3)]
    {
        let shape = PipelineShape { stage_count, micro_batch_count, chunk_count };
        let bubble = f64::from(stage_count - 1) / f64::from(chunk_count);
        let expected = (f64::from(micro_batch_count) + bubble) * (FORWARD_US + BACKWARD_US);
        let step = pipeline_us(Schedule::Interleaved, shape);
        assert!((step - expected).abs() < 1e-6, "{shape:?}: {step} of {expected}");
    }
}

/// 36 layers of 12 x 4096^2 + 2 x 4096 parameters, a norm, and 61,510 tied rows of 4096: 7.5e9.
/// With 2 bytes a parameter, 2 a gradient and 12 of main parameter and moments (K = 12) on 64 GPUs:
/// 16 x 7.5 = 120; (2 + 2 + 12/64) x 7.5 = 31.4; (2 + 14/64) x 7.5 = 16.6; 16/64 x 7.5 = 1.9 GB.
#[test]
fn zero_needs_the_memory_of_rajbhandari_2020_figure_1() {
    for (zero, expected_gb) in [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)] {
        let scenario = scenario(&format!(
            "cluster = {{ base = 'dgx-h100-ndr', node_count = 8 }}\n\
             stack = {{ base = 'deepspeed-zero', gradient_dtype = 'fp16' }}\n\
             [model]\nname = '7.5B'\nlayer_count = 36\nhidden_size = 4096\nffn_size = 16384\n\
             head_count = 32\nvocabulary_size = 61510\nactivation = 'gelu'\nnorm = 'rmsnorm'\n\
             position = 'none'\ntied_embeddings = true\n\
             [plan]\nzero = {zero}\n[training]\nsequence_length = 1024\nmicro_batch = 1\n\
             global_batch = 64\nprecision = 'fp16'\n"
        ));
        assert!((scenario.model.parameters() / 7.5e9 - 1.0).abs() < 1e-4);
        let layout = Layout::new(&scenario).expect("a plan that works");
        let state = stage_states(&scenario, &layout)[0];
        let held = (state.weights + state.gradients + state.optimizer).value() / 1e9;
        assert!((held - expected_gb).abs() < 0.05, "zero {zero}: {held} of {expected_gb} GB");
    }
}

fn megatron(model: &str, plan: &str) -> Scenario {
    scenario(&format!(
        "model = '{model}'\ncluster = {{ base = 'dgx-a100-hdr', node_count = 8 }}\n\
         stack = 'megatron-2022'\n[plan]\n{plan}\n[training]\nsequence_length = 2048\n\
         micro_batch = 4\nglobal_batch = 256\nprecision = 'fp16'\ndropout = true\n"
    ))
}

/// Korthikanti et al. 2022, table 2, bytes of activations a layer with s, b, h, a, t as there.
#[test]
fn activations_of_a_layer_are_those_of_korthikanti_2022_table_2() {
    for (plan, selective) in [
        ("tp = 1", false),
        ("tp = 8", false),
        ("tp = 8\nsequence_parallel = true", false),
        ("tp = 8\nrecompute = 'selective'", true),
        ("tp = 8\nsequence_parallel = true\nrecompute = 'selective'", true),
    ] {
        let scenario = megatron("megatron-22b", plan);
        let layout = Layout::new(&scenario).expect("a plan that works");
        let graph = Graph::build(&scenario.model, &scenario.stack, &scenario.training);
        let kept: f64 = graph.layers[0]
            .operations
            .iter()
            .map(|operation| layout.shard.saved(operation, selective).value())
            .sum();
        let (model, t) = (&scenario.model, scenario.plan.tp as f64);
        let (s, b) = (2048.0, 4.0);
        let (h, a) = (model.hidden_size as f64, model.head_count as f64);
        let scores = if selective { 0.0 } else { 5.0 * a * s / h };
        let per_value = if scenario.plan.sequence_parallel {
            (34.0 + scores) / t
        } else {
            10.0 + (24.0 + scores) / t
        };
        let ratio = kept / (s * b * h * per_value);
        assert!((ratio - 1.0).abs() < 1e-9, "{plan}: {ratio}");
    }
}

/// Equation 7 of Korthikanti et al. 2022: 72 B L s h^2 (1 + s / 6h + V / 12hL).
#[test]
fn model_flops_of_gpt3_are_those_of_korthikanti_2022() {
    let scenario = megatron("gpt3-175b", "tp = 8\npp = 8");
    let graph = Graph::build(&scenario.model, &scenario.stack, &scenario.training);
    let (batch, s) = (64.0, 2048.0);
    let model = &scenario.model;
    let (l, h) = (model.layer_count as f64, model.hidden_size as f64);
    let v = model.vocabulary_size as f64;
    let expected = 72.0 * batch * l * s * h * h * (1.0 + s / (6.0 * h) + v / (12.0 * h * l));
    let found = graph.model_flops(2048).value() * batch;
    assert!((found / expected - 1.0).abs() < 1e-12, "{found:e} of {expected:e}");
    // 64 sequences on 64 A100: the paper's 51.4 % of 312 TFLOP/s at 13.75 s.
    let utilisation = found / 13.75 / 64.0 / 312e12;
    assert!((utilisation - 0.514).abs() < 0.002, "{utilisation}");
}

/// Recomputing the attention core repeats 4 s^2 h of forward a layer, the whole layer all of its
/// 24 s h^2 + 4 s^2 h; hardware over model FLOPs is one plus that over the model's.
#[test]
fn hardware_flops_count_what_is_computed_again() {
    let (s, layers) = (2048.0, 96.0);
    for (recompute, attention_only) in [("selective", true), ("full", false)] {
        let scenario = megatron("gpt3-175b", &format!("tp = 8\npp = 8\nrecompute = '{recompute}'"));
        let summary = predict(&scenario, Detail::Folded).summary;
        let h = scenario.model.hidden_size as f64;
        let v = scenario.model.vocabulary_size as f64;
        let attention = 4.0 * s * s * h;
        let layer = 24.0 * s * h * h + attention;
        let again = if attention_only { attention } else { layer };
        let expected = 1.0 + layers * again / (3.0 * (layers * layer + 2.0 * s * h * v));
        let found = summary.hfu / summary.mfu;
        assert!((found / expected - 1.0).abs() < 1e-12, "{recompute}: {found} of {expected}");
    }
}

/// Fully sharded fp32 parameters are their own main copy: 4 bytes each, 4 of gradient and 8 of
/// moments, 16 in all, over 8 ranks.
#[test]
fn fully_sharded_stacks_hold_sixteen_bytes_a_parameter() {
    for stack in ["'fsdp1'", "'fsdp2-torchtitan'", "'fsdp2-torchtitan-compile'"] {
        let scenario = crate::scenarios::scenario(&crate::scenarios::small_llama(
            1,
            stack,
            "zero = 3",
            [1, 8],
        ));
        let memory = &crate::scenarios::predict(&scenario, Detail::Folded).summary.memory.stages[0];
        let states = memory.weights + memory.gradients + memory.optimizer;
        let expected = 16.0 * scenario.model.parameters() / 8.0;
        assert!((states.value() / expected - 1.0).abs() < 1e-9, "{stack}: {states}");
    }
}

/// Products of fp32 training run as tf32: utilisation is measured against that peak.
#[test]
fn utilisation_in_single_precision_stays_below_one() {
    let text = crate::scenarios::small_llama(1, "'fsdp2-torchtitan'", "zero = 3", [1, 8])
        .replace("'bf16'", "'fp32'");
    let scenario = crate::scenarios::scenario(&text);
    let summary = crate::scenarios::predict(&scenario, Detail::Folded).summary;
    assert!(summary.mfu > 0.1 && summary.mfu < 1.0, "{}", summary.mfu);
}
