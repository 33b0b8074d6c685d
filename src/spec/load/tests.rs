//! What loading says of scenarios that are right, wrong and very wrong.

use proptest::prelude::*;
use std::path::Path;

use super::*;

const GPU: &str = include_str!("../../../tests/suite/fixtures/gpu.toml");

const CLUSTER: &str = include_str!("../../../tests/suite/fixtures/cluster.toml");

const STACK: &str = include_str!("../../../tests/suite/fixtures/stack.toml");

/// 64 GPUs: tp 4, pp 2, so dp 8.
const SCENARIO: &str = include_str!("../../../tests/suite/fixtures/scenario.toml");

fn sources() -> DataSources {
    let mut sources = DataSources::shipped();
    sources.add(Kind::Gpu, Path::new("own/gpus/test-gpu.toml"), GPU.to_owned());
    sources.add(Kind::Cluster, Path::new("own/clusters/test-cluster.toml"), CLUSTER.to_owned());
    sources.add(Kind::Stack, Path::new("own/stacks/test-stack.toml"), STACK.to_owned());
    sources
}

fn load_with(text: &str, settings: &[&str]) -> Result<Scenario, Problems> {
    let overrides: Vec<Override> =
        settings.iter().map(|setting| Override::parse(setting).unwrap()).collect();
    load_text(&sources(), "my.toml", text, &overrides)
}

/// The scenario with one piece of text replaced.
fn edited(from: &str, to: &str) -> String {
    assert!(SCENARIO.contains(from), "{from}");
    SCENARIO.replace(from, to)
}

#[test]
fn the_valid_scenario_loads_with_names_bases_and_defaults() {
    let scenario = load_with(SCENARIO, &[]).unwrap();
    assert_eq!(scenario.data_parallel(), 8);
    assert_eq!(scenario.cluster.gpu.name, "Test GPU");
    assert_eq!(scenario.stack.name, "Test stack");
    assert_eq!(scenario.fit, Fit::default());
}

#[test]
fn overrides_set_any_key_and_the_later_one_wins() {
    let settings = [
        "plan.tp=2",
        "plan.tp=8",
        "stack.attention=flash3",
        "cluster.nic_bandwidth=200 Gbit/s",
        "cluster.gpu.memory=\"141 GB\"",
        "fit.compute_factor=1.5",
        "plan.stage_layers=[15, 17]",
    ];
    let scenario = load_with(SCENARIO, &settings).unwrap();
    assert_eq!(scenario.plan.tp, 8);
    assert_eq!(scenario.stack.attention, crate::work::AttentionFamily::Flash3);
    assert_eq!(scenario.stack.name, "Test stack (changed)");
    assert_eq!(scenario.cluster.nic_bandwidth.value(), 25e9);
    assert_eq!(scenario.cluster.gpu.memory.value(), 141e9);
    assert_eq!(scenario.cluster.gpu.sm_count, 132, "the rest of the GPU stays");
    assert_eq!(scenario.cluster.gpu.name, "Test GPU (changed)");
    assert_eq!(scenario.fit.compute_factor, 1.5);
    assert_eq!(scenario.plan.stage_layers, Some(vec![15, 17]));
}

#[test]
fn an_override_names_another_part_or_replaces_an_inline_one() {
    let mut sources = sources();
    let small = "base = \"test-gpu\"\nname = \"Small GPU\"\nmemory = \"40 GB\"";
    sources.add(Kind::Gpu, Path::new("small-gpu.toml"), small.to_owned());
    let change = [Override::parse("cluster.gpu=small-gpu").unwrap()];
    let scenario = load_text(&sources, "my.toml", SCENARIO, &change).unwrap();
    assert_eq!(scenario.cluster.gpu.name, "Small GPU");
    assert_eq!(scenario.cluster.gpu.memory.value(), 40e9);
    assert_eq!(scenario.cluster.gpu.sm_count, 132);
}

#[test]
fn a_path_is_relative_to_the_file_that_names_it() {
    let sources = sources().with_reader(|path| match path.to_str() {
        Some("dir/my.toml") => {
            Ok(edited("stack = { base", "stack = { launch_cost = \"9 us\", base")
                .replace("\"test-stack\"", "\"parts/fast.toml\""))
        }
        Some("dir/parts/fast.toml") => Ok("base = \"../other.toml\"".to_owned()),
        Some("dir/parts/../other.toml") => Ok(STACK.to_owned()),
        _ => Err("no such file".to_owned()),
    });
    let scenario = load(&sources, Path::new("dir/my.toml"), &[]).unwrap();
    assert_eq!(scenario.stack.launch_cost.us().round(), 9.0);
    assert_eq!(scenario.name.as_deref(), Some("my"));
}

const NONE: &[&str] = &[];

/// A wrong input: a text of the scenario, what replaces it, overrides, and what messages must hold.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    ("tp = 4", "tpp = 4", NONE, &["my.toml:18:1: plan.tpp: unknown key", "did you mean `tp`?"]),
    ("tp = 4", "tensor = 4", NONE, &["plan.tensor: unknown key", "did you mean `tp`?"]),
    ("tp = 4", "micro_batch = 4", NONE, &["belongs in [training]"]),
    ("[plan]", "[plans]", NONE, &["plans: unknown key", "did you mean `plan`?"]),
    (
        "tp = 4",
        "tp = \"4\"",
        NONE,
        &["plan.tp = \"4\"", "a whole number", "write 4 without quotes"],
    ),
    ("tp = 4", "tp = 4.0", NONE, &["plan.tp = 4.0", "write 4"]),
    ("tp = 4", "tp = -4", NONE, &["plan.tp = -4", "at least 0"]),
    ("tp = 4", "tp = 0", NONE, &["plan.tp = 0: must be from 1"]),
    ("tp = 4", "tp = 7", NONE, &["plan.tp = 7: must divide model.head_count (32)", "try 4 or 8"]),
    ("tp = 4", "tp = 99999999999999999999", NONE, &["plan.tp"]),
    ("pp = 2", "pp = 3", NONE, &["must divide the cluster's 64 GPUs", "cannot share 32 layers"]),
    ("pp = 2", "pp = 32", NONE, &["more ranks than the cluster's 64 GPUs"]),
    ("pp = 2", "pp = 2\ndp = 9", NONE, &["plan.dp = 9", "72 ranks", "try 8"]),
    ("pp = 2", "pp = 2\nep = 2", NONE, &["plan.ep = 2", "dense"]),
    ("pp = 2", "pp = 2\nzero = 4", NONE, &["plan.zero = 4: must be from 0 to 3"]),
    ("pp = 2", "pp = 2\nvirtual_stages = 2", NONE, &["plan.virtual_stages = 2", "interleaved"]),
    ("pp = 2", "schedule = \"interleaved\"", NONE, &["plan.pp = 1", "plan.virtual_stages = 1"]),
    ("pp = 2", "pp = 2\nschedule = \"1F1B\"", NONE, &["unknown name", "did you mean `1f1b`?"]),
    ("pp = 2", "pp = 2\nstage_layers = [16, 17]", NONE, &["sums to 33"]),
    ("pp = 2", "pp = 2\nstage_layers = [32]", NONE, &["has 1 numbers"]),
    ("pp = 2", "pp = 2\nstage_layers = [16, \"x\"]", NONE, &["plan.stage_layers[1] = \"x\""]),
    ("pp = 2", "pp = 2\nshard_group = 3\nzero = 3", NONE, &["must divide dp (8)", "try 2 or 4"]),
    ("pp = 2", "pp = 2\nshard_group = 4", NONE, &["no effect with plan.zero = 0"]),
    ("pp = 2", "pp = 2\nrecompute = \"full\"\nrecompute_layers = 17", NONE, &["a stage (16)"]),
    (
        "pp = 2",
        "cp = 2",
        &["stack.attention=unfused"],
        &["plan.cp = 2: ring", "cp_kind = \"all_gather\""],
    ),
    (
        "pp = 2",
        "cp = 16\ncp_kind = \"ulysses\"",
        &["plan.tp=1"],
        &["plan.cp = 16: Ulysses", "try 8"],
    ),
    (
        "8192",
        "8193",
        &["plan.cp=2"],
        &["training.sequence_length = 8193", "multiple of 4", "try 8196"],
    ),
    (
        "global_batch = 128",
        "global_batch = 100",
        NONE,
        &["must be a multiple of 8", "try 96 or 104"],
    ),
    ("global_batch = 128", "", NONE, &["training: misses the key `global_batch`"]),
    (
        "hidden_size = 4096\nffn_size = 14336\n",
        "",
        NONE,
        &["misses the keys `hidden_size`, `ffn_size`"],
    ),
    ("\"bf16\"", "\"fp8\"", NONE, &["Test GPU has no fp8 units", "it can run bf16, fp16, fp32"]),
    ("\"bf16\"", "\"bf17\"", NONE, &["training.precision = \"bf17\"", "did you mean `bf16`?"]),
    (
        "\"test-cluster\"",
        "\"test-clutser\"",
        NONE,
        &["no cluster of this name", "did you mean `test-cluster`?"],
    ),
    ("\"test-cluster\"", "5", NONE, &["cluster = 5: must be the name of a cluster or a table"]),
    (
        "\"test-stack\"",
        "\"gone.toml\"",
        NONE,
        &["stack.base = \"gone.toml\"", "cannot read gone.toml"],
    ),
    ("\"test-stack\"", "5", NONE, &["stack.base = 5: must be a name"]),
    (
        "cluster = \"test-cluster\"",
        "",
        NONE,
        &["the scenario has no `cluster`", "stepcast list clusters"],
    ),
    ("tp = 4", "tp = 4 5", NONE, &["my.toml:18:", "not valid TOML"]),
    ("tp = 4", "tp = 4", &["plan.tp=6"], &["command line:1:15: plan.tp = 6", "try 4 or 8"]),
    ("tp = 4", "tp = 4", &["plan.tq=8"], &["command line:1:7: plan.tq: unknown key"]),
    ("tp = 4", "tp = 4", &["cluster.gpu.memory=80"], &["cluster.gpu.memory = 80", "has no unit"]),
    ("tp = 4", "tp = 4", &["cluster.nic_bandwidth=400 Gbits"], &["unknown unit", "Gbit/s"]),
    ("tp = 4", "tp = 4", &["stack.norm_bandwidth_fraction=1.5"], &["at most 1"]),
    ("tp = 4", "tp = 4", &["stack.rank_order=[\"tp\", \"tp\", \"dp\", \"pp\"]"], &["each of `tp`"]),
    ("tp = 4", "tp = 4", &["cluster.gpu.gemm_fraction=nan"], &["cluster.gpu.gemm_fraction = NaN"]),
    (
        "tp = 4",
        "tp = 4",
        &["cluster.gpu=h9000"],
        &["cluster.gpu = \"h9000\"", "stepcast list gpus"],
    ),
    ("tp = 4", "tp = 4", &["fit=5"], &["fit = 5: must be the name of a fit or a table"]),
    ("tp = 4", "tp = 4", &["plan=none"], &["plan = \"none\": must be a table"]),
    ("tp = 4", "tp = 4", &["name=5"], &["name = 5: must be text"]),
    ("\"rotary\"", "\"learned\"", NONE, &["learned positions need model.position_count"]),
    (
        "\"rotary\"",
        "\"learned\"\nposition_count = 2048",
        NONE,
        &["more than the model's learned positions (2048)"],
    ),
    ("kv_head_count = 8", "kv_head_count = 5", NONE, &["must divide model.head_count (32)"]),
    ("head_count = 32", "head_count = 48", NONE, &["model.hidden_size (4096)", "model.head_dim"]),
];

#[test]
fn wrong_inputs_are_told_with_key_value_reason_and_advice() {
    for (from, to, settings, fragments) in CASES {
        let problems = load_with(&edited(from, to), settings).expect_err(to);
        let shown = problems.to_string();
        for fragment in *fragments {
            assert!(shown.contains(fragment), "{to} {settings:?}: no {fragment:?} in\n{shown}");
        }
        assert!(problems.iter().all(|problem| problem.place.is_some()), "{shown}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_order_of_place() {
    let text = edited("tp = 4", "tp = \"x\"\nzerro = 1")
        .replace("head_count = 32", "head_count = 32\nheads = 1")
        .replace("precision = \"bf16\"", "precison = \"bf16\"")
        .replace("\"test-stack\"", "\"nothing\"");
    let problems = load_with(&text, &["cluster.gpus_per_node=0"]).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "cluster.gpus_per_node",
            "stack.base",
            "model.heads",
            "plan.tp",
            "plan.zerro",
            "training",
            "training.precison"
        ]
    );
}

#[test]
fn a_problem_is_drawn_with_the_text_underlined() {
    let problems = load_with(&edited("tp = 4", "tp = 6"), &[]).unwrap_err();
    let shown = problems.iter().next().unwrap().render(false);
    assert!(shown.contains("error: plan.tp = 6: must divide model.head_count (32)"), "{shown}");
    assert!(shown.contains("--> my.toml:18:6"), "{shown}");
    assert!(shown.contains("18 | tp = 6\n   |      ^"), "{shown}");
    assert!(shown.contains("help: try 4 or 8"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colour unless asked");
}

#[test]
fn a_file_that_is_its_own_base_is_refused() {
    let mut sources = sources();
    sources.add(Kind::Stack, Path::new("loop.toml"), "base = \"loop\"".to_owned());
    let change = [Override::parse("stack=loop").unwrap()];
    let problems = load_text(&sources, "my.toml", SCENARIO, &change).unwrap_err();
    assert!(problems.to_string().contains("its own base"), "{problems}");
}

#[test]
fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
    let deep = format!("x = {}", "[".repeat(200_000));
    assert!(load_with(&deep, &[]).is_err());
    let deep = format!("plan.tp={}", "{a=".repeat(200_000));
    assert!(load_with(SCENARIO, &[&deep]).is_err());
    let dotted = format!("{}x = 1", "a.".repeat(200_000));
    assert!(load_with(&dotted, &[]).is_err());
}

#[test]
fn overrides_without_key_or_value_are_refused() {
    for argument in ["plan.tp", "=4", "plan..tp=4", ".=", "", "a.b.c.d.e.f.g.h.i=1"] {
        let problem = Override::parse(argument).unwrap_err();
        assert!(problem.render(false).contains("KEY=VALUE") || argument.len() > 10, "{argument}");
    }
}

/// Keys whose values enter products.
const COUNTS: &[&str] = &[
    "plan.tp",
    "plan.pp",
    "plan.cp",
    "plan.dp",
    "plan.virtual_stages",
    "plan.shard_group",
    "plan.recompute_layers",
    "training.global_batch",
    "training.micro_batch",
    "training.sequence_length",
    "model.layer_count",
    "model.head_count",
    "model.kv_head_count",
    "cluster.node_count",
    "cluster.gpus_per_node",
    "cluster.scale_up_domain_size",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cuts, doublings and foreign bytes in a valid file, with overrides from the same mill.
    #[test]
    fn no_mutation_of_a_scenario_panics(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..12usize, "[ -~é\n\"=\\[\\]{}.,0-9]{0,6}"),
            1..6,
        ),
        setting in "(plan|model|cluster|stack|training|fit|x)(\\.[a-z_]{0,12}){0,3}=[ -~]{0,12}",
        number in any::<u64>(),
        key in prop::sample::select(COUNTS),
        bits in 0..64u32,
    ) {
        let mut text: Vec<char> = SCENARIO.chars().collect();
        for (place, cut, insert) in edits {
            let at = place.index(text.len().max(1)).min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let number = format!("{key}={}", number >> bits);
        let overrides: Vec<Override> =
            [&setting, &number].iter().filter_map(|text| Override::parse(text).ok()).collect();
        for text in [text.as_str(), SCENARIO] {
            match load_text(&sources(), "my.toml", text, &overrides) {
                Ok(scenario) => {
                    prop_assert!(crate::spec::check(&scenario).is_empty());
                    let _ = crate::spec::warnings(&scenario);
                }
                Err(problems) => prop_assert!(!problems.render(true).is_empty()),
            }
        }
    }
}
