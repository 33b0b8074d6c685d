//! What stacks of fully sharded training say of themselves shows in the program and in the step.

use stepcast::Detail;
use stepcast::analysis::Summary;
use stepcast::program::{Program, WorkKind};
use stepcast::work::{CollectiveKind, GemmLayout, Kernel, Pass};

use crate::scenarios::{lowered, predict, scenario};

/// Llama-3 8B with a few layers on one node, by torchtitan.
fn text(stack: &str, plan: &str, precision: &str) -> String {
    format!(
        "name = \"sharded\"\nmodel = {{ base = \"llama3-8b\", layer_count = 4 }}\n\
         cluster = {{ base = \"dgx-h100-ndr\", node_count = 1 }}\n\
         stack = {{ base = \"fsdp2-torchtitan-compile\"{stack} }}\n\
         [plan]\n{plan}\n\
         [training]\nsequence_length = 8192\nmicro_batch = 1\nglobal_batch = 8\n\
         precision = \"{precision}\"\n"
    )
}

fn program(text: &str) -> Program {
    lowered(&scenario(text)).1
}

fn summary(text: &str) -> Summary {
    predict(&scenario(text), Detail::Folded).summary
}

/// Columns of all forward products that backward computes again, by name.
fn repeated(program: &Program, name: &str) -> u64 {
    let works = program.works.iter().filter(|work| work.label == name);
    works
        .filter_map(|work| match work.kind {
            WorkKind::Kernel(Kernel::Gemm { n, layout, .. })
                if work.pass == Pass::Backward && layout == GemmLayout::Tn =>
            {
                Some(n)
            }
            _ => None,
        })
        .sum()
}

#[test]
fn recomputation_by_operator_repeats_every_other_matrix_but_no_attention() {
    let plan = "zero = 3\nrecompute = \"selective\"";
    let program = program(&text("", plan, "bf16"));
    // Of query, key, value, output, gate, up and down: key, output and up.
    assert_eq!(repeated(&program, "qkv projection"), 1024);
    assert_eq!(repeated(&program, "output projection"), 4096);
    assert_eq!(repeated(&program, "mlp in"), 14336);
    assert_eq!(repeated(&program, "mlp out"), 0);
    let forwards = program.works.iter().filter(|work| {
        let forward =
            matches!(work.kind, WorkKind::Kernel(Kernel::Attention { pass: Pass::Forward, .. }));
        forward && work.pass == Pass::Backward
    });
    assert_eq!(forwards.count(), 0);
}

#[test]
fn recomputation_by_operator_lies_between_none_and_all() {
    let plan = |recompute: &str| format!("zero = 3\nrecompute = \"{recompute}\"");
    let run = |recompute: &str| summary(&text("", &plan(recompute), "bf16"));
    let [none, some, all] = ["none", "selective", "full"].map(run);
    assert!(none.step_time_s < some.step_time_s && some.step_time_s < all.step_time_s);
    let peak = |summary: &Summary| summary.memory.peak_bytes;
    assert!(peak(&none) > peak(&some) && peak(&some) > peak(&all));
}

#[test]
fn recomputation_that_stops_early_repeats_all_but_the_last_product() {
    let plan = "zero = 3\nrecompute = \"full\"";
    let whole = program(&text(", recompute_stops_early = false", plan, "bf16"));
    let early = program(&text("", plan, "bf16"));
    assert_eq!((repeated(&whole, "mlp out"), repeated(&early, "mlp out")), (4096, 0));
    assert_eq!(repeated(&whole, "mlp in"), repeated(&early, "mlp in"));
}

#[test]
fn row_scaled_operands_are_quantised_whole_for_each_matrix_after_the_gather() {
    let plan = "tp = 8\nsequence_parallel = true\nzero = 3";
    let of = |stack: &str, precision: &str| {
        let program = program(&text(stack, plan, precision));
        let gathers = program.works.iter().filter(|work| work.label == "tp all-gather");
        let bytes = gathers.filter_map(|work| match work.kind {
            WorkKind::Collective { collective, .. } => Some(collective.bytes.value()),
            _ => None,
        });
        let quantised = program.works.iter().filter(|work| work.label == "quantise");
        let read = quantised.filter_map(|work| match work.kind {
            WorkKind::Kernel(Kernel::Memory { read, .. }) => Some(read.value()),
            _ => None,
        });
        (bytes.fold(f64::INFINITY, f64::min), read.fold(0.0, f64::max))
    };
    let values = 8192.0 * 4096.0;
    // Found scales read twice: three times the whole input of query, key and value.
    assert_eq!(of("", "fp8_rowwise"), (2.0 * values, 3.0 * values * 4.0));
    let parts = of(", rowwise_after_gather = false", "fp8_rowwise");
    assert_eq!(parts.0, values, "in parts it travels in 8 bits");
    assert!(parts.1 < 3.0 * values * 4.0);
}

#[test]
fn updated_matrices_are_broadcast_one_by_one() {
    let plan = "zero = 1";
    let count = |stack: &str, kind: CollectiveKind| {
        let program = program(&text(stack, plan, "bf16"));
        let works = program.works.iter().filter(|work| {
            matches!(work.kind, WorkKind::Collective { collective, .. } if collective.kind == kind)
        });
        works.count()
    };
    let broadcast = ", parameter_exchange = \"broadcast\"";
    assert_eq!(count("", CollectiveKind::Broadcast), 0);
    assert!(count(broadcast, CollectiveKind::Broadcast) > 0);
    let time = |stack: &str| summary(&text(stack, plan, "bf16")).step_time_s;
    assert!(time(broadcast) >= time(""), "a chain is no faster than a ring of parts");
}

#[test]
fn metrics_of_the_logits_and_copies_of_parameters_take_time() {
    let time = |stack: &str| summary(&text(stack, "zero = 3", "bf16")).step_time_s;
    assert!(time(", loss_metric_count = 2") > time(""));
    assert!(time("") > time(", fsdp_copies = \"none\""));
    assert!(time(", attention_backward_factor = 2.0") > time(""));
}
