//! Mixtures of experts, by hand: parameters, shapes, bytes, states, and what one expert amounts to.

use stepcast::Detail;
use stepcast::graph::{Graph, OperationKind};
use stepcast::plan::{Layout, stage_states};
use stepcast::program::{Action, Program, Step, WorkKind};
use stepcast::work::{ExchangePhase, Kernel, Pass};

use crate::scenarios::{lowered, predict, scenario, small_deepseek, small_llama, small_mixtral};

const CORE: &str = "'megatron-core'";

/// Mixtral 8x7B meets two of eight experts a token: of 46.70e9 parameters, six eighths of the
/// 32 x 8 x 3 x 4096 x 14336 of experts are idle, so that 12.88e9 are active (Jiang et al. 2024).
#[test]
fn active_parameters_of_mixtral_are_those_of_its_paper() {
    let scenario = scenario(
        "model = 'mixtral-8x7b'\ncluster = 'dgx-h100-ndr'\nstack = 'megatron-core'\n\
         [plan]\nep = 8\n[training]\nsequence_length = 4096\nmicro_batch = 1\n\
         global_batch = 64\nprecision = 'bf16'\n",
    );
    let experts = 32.0 * 8.0 * 3.0 * 4096.0 * 14336.0;
    let expected = scenario.model.parameters() - 0.75 * experts;
    assert!((scenario.model.active_parameters() / expected - 1.0).abs() < 1e-12);
    assert!((expected / 12.88e9 - 1.0).abs() < 1e-3, "{expected:e}");
}

/// DeepSeek-V3: 37 of 671 billion parameters are active (DeepSeek-AI 2024, abstract).
#[test]
fn active_parameters_of_deepseek_v3_are_those_of_its_report() {
    let text = "model = 'deepseek-v3'\ncluster = 'dgx-h100-ndr'\nstack = 'megatron-core'\n\
                [plan]\nep = 8\n[training]\nsequence_length = 4096\nmicro_batch = 1\n\
                global_batch = 64\nprecision = 'bf16'\n";
    let active = scenario(text).model.active_parameters();
    assert!((active / 37.5e9 - 1.0).abs() < 0.015, "{active:e}");
}

/// A token of a Mixtral layer: 2 x (4096 x 6144 + 4096 x 4096) of projections, 2 x 2 x 3 x 4096 x
/// 14336 of two experts, 2 x 4096 x 8 of the router, and 4 x 4096 x 4096 of attention; twice that
/// again in backward. Idle experts do no arithmetic.
#[test]
fn model_flops_count_the_experts_that_a_token_meets() {
    let scenario = scenario(&small_mixtral(1, CORE, "ep = 8\nzero = 1", [1, 8]));
    let graph = Graph::build(&scenario.model, &scenario.stack, &scenario.training);
    let (s, h, f) = (4096.0, 4096.0, 14336.0);
    let layer = 2.0 * h * (6144.0 + h) + 2.0 * 2.0 * 3.0 * h * f + 2.0 * h * 8.0 + 4.0 * s * h;
    let head = 2.0 * h * scenario.model.vocabulary_size as f64;
    let expected = 3.0 * s * (4.0 * layer + head);
    let found = graph.model_flops(4096).value();
    assert!((found / expected - 1.0).abs() < 1e-12, "{found:e} of {expected:e}");
}

fn works<'a>(program: &'a Program, name: &'a str, pass: Pass) -> Vec<&'a WorkKind> {
    let found = program.works.iter().filter(|it| it.label == name && it.pass == pass);
    found.map(|it| &it.kind).collect()
}

/// 4,096 tokens a rank with two experts each are 8,192 rows; eight ranks with one expert each get
/// as many, cut over two ranks 8,192 rows of each of four pairs of experts half as wide.
#[test]
fn rows_of_a_rank_are_the_assignments_of_its_tokens() {
    let shape = |plan: &str, name: &str| {
        let (_, program) = lowered(&scenario(&small_mixtral(1, CORE, plan, [1, 8])));
        let [WorkKind::Kernel(Kernel::Gemm { m, n, k, batch, .. })] =
            works(&program, name, Pass::Forward)[..]
        else {
            panic!("one kernel is called {name}")
        };
        [*m, *n, *k, *batch]
    };
    let whole = "ep = 8\nzero = 1";
    assert_eq!(shape(whole, "expert in"), [8192, 2 * 14336, 4096, 1]);
    assert_eq!(shape(whole, "expert out"), [8192, 4096, 14336, 1]);
    let local = "zero = 1";
    assert_eq!(shape(local, "expert in"), [1024, 2 * 14336, 4096, 8]);
    let cut = "tp = 2\nep = 4\nsequence_parallel = true\nzero = 1";
    assert_eq!(shape(cut, "expert in"), [4096, 14336, 4096, 2]);
    assert_eq!(shape(cut, "expert out"), [4096, 4096, 7168, 2]);
    let folded = "tp = 2\nep = 8\netp = 1\nsequence_parallel = true\nzero = 1";
    assert_eq!(shape(folded, "expert in"), [4096, 2 * 14336, 4096, 1]);
}

/// Each layer sends every token's rows to the experts and back, and so do the gradients: four
/// exchanges of 4,096 x 2 x 4,096 x 2 bytes.
#[test]
fn a_layer_exchanges_its_rows_four_times() {
    let (_, program) = lowered(&scenario(&small_mixtral(1, CORE, "ep = 8\nzero = 1", [1, 8])));
    for (name, phase) in
        [("dispatch", ExchangePhase::Dispatch), ("combine", ExchangePhase::Combine)]
    {
        for pass in [Pass::Forward, Pass::Backward] {
            let [WorkKind::Exchange { exchange, .. }] = works(&program, name, pass)[..] else {
                panic!("one exchange is called {name}")
            };
            assert_eq!(exchange.phase, phase);
            assert_eq!(exchange.bytes().value(), 4096.0 * 2.0 * 4096.0 * 2.0);
        }
    }
    let (_, alone) = lowered(&scenario(&small_mixtral(1, CORE, "zero = 1", [1, 8])));
    assert!(works(&alone, "dispatch", Pass::Forward).is_empty());
}

/// Eight ranks, experts over four of them: an expert's states are sharded over its two replicas,
/// the rest over all eight. Weights 2 bytes, gradients 4, main parameter and moments 12 over the
/// shards.
#[test]
fn states_of_experts_are_sharded_over_the_replicas_of_experts() {
    let scenario = scenario(&small_mixtral(1, CORE, "ep = 4\nzero = 1", [1, 8]));
    let layout = Layout::new(&scenario).expect("a plan that works");
    let state = stage_states(&scenario, &layout)[0];
    let experts = 4.0 * 8.0 * 3.0 * 4096.0 * 14336.0;
    let dense = scenario.model.parameters() - experts;
    assert_eq!(state.parameters.experts, experts / 4.0);
    assert!((state.parameters.dense / dense - 1.0).abs() < 1e-12);
    let held = experts / 4.0 + dense;
    assert!((state.weights.value() / (2.0 * held) - 1.0).abs() < 1e-12);
    assert!((state.gradients.value() / (4.0 * held) - 1.0).abs() < 1e-12);
    let updated = experts / 4.0 / 2.0 + dense / 8.0;
    assert!((state.optimizer.value() / (12.0 * updated) - 1.0).abs() < 1e-12);
    // Spread over all ranks, an expert has no replica: its whole state is on its rank.
    let spread = crate::scenarios::scenario(&small_mixtral(1, CORE, "ep = 8\nzero = 1", [1, 8]));
    let layout = Layout::new(&spread).expect("a plan that works");
    let state = stage_states(&spread, &layout)[0];
    assert!((state.updated_parameters / (experts / 8.0 + dense / 8.0) - 1.0).abs() < 1e-12);
}

/// One expert that every token goes to is an MLP behind a router: the same products, and as much
/// arithmetic but for the router's `2 x 4096 x 1` a token.
#[test]
fn one_expert_is_the_mlp_of_a_dense_model() {
    let dense = scenario(&small_llama(1, CORE, "zero = 1", [1, 8]));
    let with = "parameter_count = 2.8e9, experts = { count = 1, top_k = 1, ffn_size = 14336 }";
    let text = small_llama(1, CORE, "zero = 1", [1, 8]).replace("parameter_count = 2.8e9", with);
    let one = scenario(&text);
    let flops = |it: &stepcast::spec::Scenario| {
        Graph::build(&it.model, &it.stack, &it.training).model_flops(4096).value()
    };
    let router = 3.0 * 8.0 * 4096.0 * 2.0 * 4096.0;
    assert!(((flops(&one) - router) / flops(&dense) - 1.0).abs() < 1e-12);
    let parameters = one.model.parameters() - dense.model.parameters();
    assert_eq!(parameters, 8.0 * 4096.0);
    let gemm_us = |it: &stepcast::spec::Scenario| {
        let (_, program) = lowered(it);
        let product = |label: &str| {
            works(&program, label, Pass::Forward)
                .iter()
                .filter_map(|it| match it {
                    WorkKind::Kernel(kernel @ Kernel::Gemm { .. }) => Some(kernel.flops().value()),
                    _ => None,
                })
                .sum::<f64>()
        };
        product("mlp in") + product("mlp out") + product("expert in") + product("expert out")
    };
    assert_eq!(gemm_us(&one), gemm_us(&dense));
    let time = |it| predict(it, Detail::Folded).summary.step_time_s;
    let (with, without) = (time(&one), time(&dense));
    assert!(with > without && with < 1.12 * without, "{with} and {without}");
}

/// Exchanges beside shared experts, or hidden behind another micro-batch, shorten a step; more
/// experts a token lengthen it.
#[test]
fn hidden_exchanges_shorten_a_step() {
    let step = |stack: &str, plan: &str| {
        let scenario = scenario(&small_deepseek(1, stack, plan, [1, 32]));
        predict(&scenario, Detail::Folded).summary.step_time_s
    };
    let plan = "ep = 8\nzero = 1";
    let plain = step(CORE, plan);
    let beside = step("{ base = 'megatron-core', overlap_shared_experts = true }", plan);
    let hidden = step("{ base = 'megatron-core', overlap_exchange_fraction = 0.8 }", plan);
    assert!(beside < plain && hidden < plain, "{beside} and {hidden} of {plain}");
}

/// With a window a layer's attention looks at 512 of 4,096 keys.
#[test]
fn windows_shorten_the_attention_of_their_layers() {
    let text = small_llama(1, CORE, "zero = 1", [1, 8]);
    let with = "parameter_count = 2.8e9, sliding_window = { tokens = 512, every = 2 }";
    let scenario = scenario(&text.replace("parameter_count = 2.8e9", with));
    let graph = Graph::build(&scenario.model, &scenario.stack, &scenario.training);
    let counts: Vec<u64> = graph.layers.iter().map(|layer| layer.count).collect();
    assert_eq!(counts, [4, 4]);
    let keys = |windowed: bool| {
        let kind = stepcast::spec::LayerKind { experts: false, window: windowed };
        let attention = graph.layer(kind).iter().find_map(|it| match it.kind {
            OperationKind::Attention { .. } => Some(it.forward_flops(4096).value()),
            _ => None,
        });
        attention.expect("a fused core")
    };
    assert_eq!(keys(false) / keys(true), 8.0);
    let (_, program) = lowered(&scenario);
    let lengths: Vec<u64> = works(&program, "attention", Pass::Forward)
        .iter()
        .filter_map(|it| match it {
            WorkKind::Kernel(Kernel::Attention { key_length, .. }) => Some(*key_length),
            _ => None,
        })
        .collect();
    assert_eq!(lengths, [512, 4096]);
}

/// Gradients of experts are reduced over the replicas of experts, and only where there are any.
#[test]
fn gradients_of_experts_have_groups_of_their_own() {
    use stepcast::plan::GroupKind;
    for (plan, expected) in [("ep = 4\nzero = 1", true), ("ep = 8\nzero = 1", false)] {
        let (_, program) = lowered(&scenario(&small_mixtral(1, CORE, plan, [1, 8])));
        let mut bytes = [0.0; 2];
        for step in &program.roles[0].steps {
            let Step::Launch(launch) = step else { continue };
            let Action::Work(work) = launch.action else { continue };
            if let WorkKind::Collective { group, collective } = &program.work(work).kind
                && program.work(work).label == "dp reduce-scatter"
            {
                bytes[usize::from(*group == GroupKind::ExpertShard)] += collective.bytes.value();
            }
        }
        let experts = 4.0 * 8.0 * 3.0 * 4096.0 * 14336.0 / 4.0 * 4.0;
        assert!(bytes[0] > 0.0, "{plan}");
        let of_experts = if expected { experts } else { 0.0 };
        assert!((bytes[1] - of_experts).abs() <= 1e-6 * experts, "{plan}: {bytes:?}");
    }
}
