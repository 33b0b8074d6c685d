//! Steps in fp8 and fp4, rings of context parallelism, stragglers: what the stack says of them
//! shows in the program and in the step.

use stepcast::Detail;
use stepcast::program::{Program, WorkKind};
use stepcast::work::Kernel;

use crate::scenarios::{lowered, predict, scenario};

/// Llama-3 70B, one layer a stage chunk is enough: four ranks of a node.
fn text(cluster: &str, stack: &str, plan: &str, precision: &str) -> String {
    format!(
        "name = \"narrow\"\nmodel = {{ base = \"llama3-70b\", layer_count = 2 }}\n\
         cluster = {{ base = \"{cluster}\", node_count = 1 }}\n\
         stack = {{ base = \"nemo-2025\"{stack} }}\n\
         [plan]\n{plan}\n\
         [training]\nsequence_length = 8192\nmicro_batch = 1\nglobal_batch = 8\n\
         precision = \"{precision}\"\n"
    )
}

fn program(text: &str) -> Program {
    lowered(&scenario(text)).1
}

/// Bytes read and written by the smallest pass of a name.
fn pass(program: &Program, name: &str) -> (f64, f64) {
    let passes = program.works.iter().filter(|work| work.label == name);
    let traffic = passes.filter_map(|work| match work.kind {
        WorkKind::Kernel(Kernel::Memory { read, write, .. }) => Some((read.value(), write.value())),
        _ => None,
    });
    traffic.min_by(|one, other| one.0.total_cmp(&other.0)).expect("has such a pass")
}

#[test]
fn fp8_reads_once_more_for_current_scales_and_blackwell_writes_no_transpose() {
    // 8192 tokens of 8192 values in 16 bits.
    let values = 8192.0 * 8192.0;
    let current = ", fp8_scaling = \"current\"";
    let plan = "tp = 1\nzero = 1";
    for (cluster, stack, read, write) in [
        ("dgx-h100-ndr", "", 2.0, 2.0),
        ("dgx-h100-ndr", current, 4.0, 2.0),
        ("dgx-b200-ndr", "", 2.0, 1.0),
        ("dgx-b200-ndr", current, 4.0, 1.0),
    ] {
        let program = program(&text(cluster, stack, plan, "fp8"));
        let found = pass(&program, "quantise");
        assert_eq!(found, (values * read, values * write), "{cluster}{stack}");
    }
    let program = program(&text("dgx-b200-ndr", "", plan, "nvfp4"));
    assert_eq!(pass(&program, "quantise"), (values * 4.0, values * 2.0 * 0.5625));
}

#[test]
fn operands_travel_in_the_format_of_the_product() {
    let plan = "tp = 8\nsequence_parallel = true\nzero = 1";
    let gathered = |precision: &str| -> f64 {
        let program = program(&text("dgx-h100-ndr", "", plan, precision));
        let works = program.works.iter().filter(|work| work.label == "tp all-gather");
        let bytes = works.filter_map(|work| match &work.kind {
            WorkKind::Collective { collective, .. } => Some(collective.bytes.value()),
            _ => None,
        });
        bytes.fold(f64::INFINITY, f64::min)
    };
    assert_eq!(gathered("bf16"), 2.0 * gathered("fp8"));
}

#[test]
fn a_ring_copies_rescales_and_adds_around_its_steps() {
    let ring = "tp = 1\ncp = 4\nzero = 1";
    let program = program(&text("dgx-h100-ndr", "", ring, "bf16"));
    // 2048 tokens of 64 heads of 128 in 16 bits: backward moves eleven times that a step in eight
    // kernels, which is less a kernel than forward's seven in five; half of it is read.
    let queries = 2048.0 * 64.0 * 128.0 * 2.0;
    assert_eq!(pass(&program, "cp correction").0, queries * 11.0 / 8.0 / 2.0);
}

#[test]
fn releases_receives_and_stragglers_stretch_kernels() {
    let step = |release: f64, posted: f64, straggler: f64| {
        let stack = format!(
            ", kernel_time_factor = {release}, posted_receive_slowdown = {posted}, \
             straggler_fraction = {straggler}"
        );
        let text = text("dgx-h100-ndr", &stack, "tp = 1\npp = 2\nzero = 1", "bf16");
        predict(&scenario(&text), Detail::Folded).summary.time.compute_s
    };
    let alone = step(1.0, 1.0, 0.0);
    for (stretched, by) in [
        (step(1.5, 1.0, 0.0), 1.5),
        (step(1.0, 1.25, 0.0), 1.25),
        // Eight ranks wait for each other.
        (step(1.0, 1.0, 0.1), 1.0 + 0.1 * 8f64.ln()),
    ] {
        assert!((stretched / alone / by - 1.0).abs() < 0.02, "{} for {by}", stretched / alone);
    }
}

#[test]
fn recipes_that_recompute_blocks_cover_few_layers() {
    let parts = |stack: &str, plan: &str| {
        let text = text("dgx-h100-ndr", stack, plan, "bf16");
        scenario(&text).recompute_layers()
    };
    let block = ", block_recompute_layers = 1";
    assert_eq!(parts(block, "recompute = \"full\""), Some(1));
    assert_eq!(parts(block, "recompute = \"full\"\nrecompute_layers = 2"), Some(2));
    assert_eq!(parts(block, "recompute = \"selective\""), None);
    assert_eq!(parts("", "recompute = \"full\""), None);
}
