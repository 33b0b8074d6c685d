//! Calibration of grouped products and of passes over memory: what is known is found again, and
//! measured shapes that were not learned from are predicted.

use std::collections::BTreeMap;
use std::fmt::Write;

use stepcast::calibrate::{LearnOptions, Table};
use stepcast::cost::{
    ElementwiseForm, ElementwiseShape, ExpertLayer, ExpertLoad, Facts, Form, GroupedGemmForm,
    GroupedShape, GroupedWork,
};
use stepcast::work::DType;

use crate::calibration::hardware;
use crate::measured_tables::{HeldOut, disturbed, errors, held_out, learn, shared_table};

/// Values of a form: those it starts from but for some.
fn values<F: Form>(known: &[(&str, f64)]) -> Vec<f64> {
    let known: BTreeMap<&str, f64> = known.iter().copied().collect();
    F::PARAMETERS
        .iter()
        .map(|parameter| known.get(parameter.name).copied().unwrap_or(parameter.start))
        .collect()
}

fn facts(gpu: &str, dtype: DType) -> Facts {
    Facts::of(hardware().find(gpu).expect("it ships").1, dtype)
}

/// A made table: every pass that a grid holds.
fn passes(known: &[(&str, f64)], noise: f64) -> String {
    let facts = facts("V100-PCIE", DType::Fp32);
    let values = values::<ElementwiseForm>(known);
    let mut shapes = Vec::new();
    for rows in (4..20).map(|power| 3.0 * f64::from(power).exp2()) {
        for columns in [300.0, 768.0, 1024.0, 2000.0, 4096.0, 12_288.0] {
            shapes.push(ElementwiseShape { rows, columns, bytes: 12.0 * rows * columns });
        }
    }
    let times: Vec<f64> =
        shapes.iter().map(|shape| ElementwiseForm::time_us(&values, &facts, shape)).collect();
    let mut text = "op,gpu,dtype,rows,cols,bytes,time_us,source\n".to_owned();
    for (shape, time) in shapes.iter().zip(disturbed(&times, noise)) {
        let ElementwiseShape { rows, columns, bytes } = shape;
        writeln!(text, "add,V100-PCIE,fp32,{rows},{columns},{bytes},{time},made").unwrap();
    }
    text
}

fn assert_near(parameters: &BTreeMap<String, f64>, name: &str, wanted: f64, within: f64) {
    let found = parameters[name];
    assert!((found / wanted - 1.0).abs() <= within, "{name}: {found} instead of {wanted}");
}

#[test]
fn the_parameters_of_a_made_pass_are_found_again_among_noise_and_outliers() {
    let known = [
        ("launch_us", 12.0),
        ("bandwidth_fraction", 0.83),
        ("cache_gain", 3.0),
        ("cache_share", 0.9),
        ("row_us", 0.0002),
    ];
    let models = learn("elementwise", &passes(&known, 0.01));
    let [(gpu, model)] = models.as_slice() else { panic!("{} models", models.len()) };
    assert_eq!((gpu.as_str(), model.case.as_str()), ("v100-pcie-32gb", "add, 32-bit"));
    assert_near(&model.parameters, "launch_us", 12.0, 0.03);
    assert_near(&model.parameters, "bandwidth_fraction", 0.83, 0.01);
    // The cache shows in few rows.
    assert_near(&model.parameters, "cache_gain", 3.0, 0.3);
    assert_near(&model.parameters, "cache_share", 0.9, 0.15);
    // Noise of at most 1 % is 0.5 % on the mean, and a typical row is no outlier.
    assert!(model.residuals["held_out"].median_ape < 0.01, "{:?}", model.residuals);
}

/// Layers of experts that a grid holds, and their row in a table.
fn layers() -> Vec<(GroupedShape, String)> {
    let mut found = Vec::new();
    for tokens in [16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 32_768.0] {
        for (hidden, inter, topk, experts) in [
            (7168.0, 2048.0, 8.0, 256.0),
            (4096.0, 1536.0, 8.0, 128.0),
            (6144.0, 16_384.0, 2.0, 8.0),
        ] {
            for (ranks, shards) in
                [(1.0, 1.0), (1.0, 8.0), (2.0, 4.0), (4.0, 2.0), (8.0, 1.0), (8.0, 4.0)]
            {
                let work = GroupedWork::Layer(ExpertLayer {
                    tokens,
                    topk,
                    experts,
                    local_experts: experts / ranks,
                    hidden,
                    inter: inter / shards,
                    gated: true,
                });
                let load = ExpertLoad::balanced(tokens * topk / ranks, experts / ranks);
                let row = format!(
                    "H100-SXM,bf16,{tokens},{hidden},{inter},{topk},{experts},{ranks},{shards},\
                     balanced,1"
                );
                found.push((GroupedShape { load, work, operand_bytes: 2.0 }, row));
            }
        }
    }
    found
}

const LAYER_COLUMNS: &str =
    "gpu,dtype,tokens,hidden,inter,topk,experts,ep,tp,distribution,gated,time_us";

#[test]
fn the_parameters_of_a_made_layer_of_experts_are_found_again_among_noise_and_outliers() {
    let known = [
        ("launch_us", 30.0),
        ("tile_fraction", 0.8),
        ("weight_bandwidth_fraction", 0.7),
        ("combine_bandwidth_fraction", 0.4),
    ];
    let (values, facts) = (values::<GroupedGemmForm>(&known), facts("H100-SXM", DType::Bf16));
    let layers = layers();
    let times: Vec<f64> =
        layers.iter().map(|(shape, _)| GroupedGemmForm::time_us(&values, &facts, shape)).collect();
    let mut text = format!("{LAYER_COLUMNS}\n");
    for ((_, row), time) in layers.iter().zip(disturbed(&times, 0.02)) {
        writeln!(text, "{row},{time}").unwrap();
    }
    let models = learn("grouped-gemm", &text);
    let [(_, model)] = models.as_slice() else { panic!("{} models", models.len()) };
    assert_eq!(model.case, "16-bit, balanced");
    assert_near(&model.parameters, "launch_us", 30.0, 0.1);
    assert_near(&model.parameters, "tile_fraction", 0.8, 0.05);
    assert_near(&model.parameters, "weight_bandwidth_fraction", 0.7, 0.05);
    // Three passes share what they explain.
    assert_near(&model.parameters, "combine_bandwidth_fraction", 0.4, 0.4);
    assert!(model.residuals["held_out"].median_ape < 0.02, "{:?}", model.residuals);
}

/// A row of a made table that cannot be, among ten that can.
fn fault_of(kind: &str, header: &str, good: &str, bad: &str) -> String {
    let text = format!("{header}\n{}{bad}\n", format!("{good}\n").repeat(10));
    let table = Table::read("table.csv", text.as_bytes()).unwrap();
    let kind = crate::measured_tables::kind(kind);
    let learned = kind.learn(&[&table], &hardware(), &LearnOptions::default(), &|_| {}).unwrap();
    assert_eq!(learned.faults.len(), 1, "{:?}", learned.faults);
    learned.faults[0].to_string()
}

#[test]
fn rows_that_cannot_be_are_left_out_and_told_by_line() {
    let layer = |row: &str| {
        let good = "H100-SXM,bf16,4096,4096,1536,8,128,8,1,balanced,1,500";
        fault_of("grouped-gemm", LAYER_COLUMNS, good, &format!("H100-SXM,{row}"))
    };
    let told = layer("bf16,4096,4096,1536,8,128,7,1,balanced,1,500");
    assert_eq!(told, "table.csv:12: ep is 7; must divide the 128 experts");
    let told = layer("bf16,4096,4096,1536,8,128,8,1,uniform,1,500");
    assert_eq!(
        told,
        "table.csv:12: distribution is \"uniform\"; must be balanced or power_law_ and an exponent"
    );
    // 4096 x 8 / 8 rows, 3 x 4,096 x 1,536 weights: 155 GFLOP in 1 us.
    assert!(layer("bf16,4096,4096,1536,8,128,8,1,balanced,1,1").contains("TFLOP/s are more than"));
    let pass = |row: &str| {
        let header = "op,gpu,dtype,rows,cols,bytes,time_us";
        fault_of("elementwise", header, "add,T4,fp32,4096,4096,201326592,840", row)
    };
    let told = pass("add,T4,fp32,4096,4096,201,840");
    assert!(told.starts_with("table.csv:12: bytes is 201: 0.000 for each"), "{told}");
    assert!(pass("add,T4,fp32,4096,4096,201326592,0.84").contains("TB/s are more than 32 times"));
    assert!(pass("add,T4,fp32,4096,4096,201326592,-3").contains("time_us is -3"));
}

/// Names of the columns that tell one shape of a layer of experts from another.
const LAYER_SHAPE: [&str; 8] =
    ["tokens", "hidden", "inter", "topk", "experts", "ep", "tp", "distribution"];

#[test]
fn layers_of_experts_that_were_not_learned_are_predicted() {
    let Some(text) = shared_table("grouped_gemm.csv.gz") else { return };
    let rows = held_out("grouped-gemm", &text, &LAYER_SHAPE);
    let of = |gpu: &str, dtype: &str, distribution: &str| {
        errors(
            &format!("{gpu} {dtype} {distribution}"),
            rows.iter().filter(|row| {
                row.text("gpu") == gpu
                    && row.text("dtype") == dtype
                    && row.text("distribution") == distribution
            }),
        )
    };
    for gpu in ["H100-SXM", "H200-SXM", "B200-SXM", "B300-SXM", "GB200", "GB300"] {
        let balanced = of(gpu, "fp8_block_q", "balanced");
        assert!(balanced.mape <= 0.03, "{gpu}: {balanced:?}");
        let skewed = of(gpu, "fp8_block_q", "power_law_1.2");
        assert!(skewed.mape <= 0.06, "{gpu}: {skewed:?}");
    }
    for gpu in ["B200-SXM", "B300-SXM", "GB200", "GB300"] {
        let balanced = of(gpu, "bf16", "balanced");
        assert!(balanced.mape <= 0.08, "{gpu}: {balanced:?}");
        of(gpu, "bf16", "power_law_1.2");
    }
    for gpu in ["A100-SXM", "H100-SXM", "H200-SXM", "L40S"] {
        of(gpu, "bf16", "balanced");
        of(gpu, "bf16", "power_law_1.2");
    }
}

/// Operations without reductions.
const SIMPLE: [&str; 11] =
    ["add", "addu", "div", "divu", "gelu", "mul", "mulu", "pow", "powu", "relu", "tanh"];

#[test]
fn passes_over_memory_that_were_not_learned_are_predicted() {
    let Some(text) = shared_table("elementwise.csv.gz") else { return };
    let rows = held_out("elementwise", &text, &["op", "rows", "cols"]);
    let is_large_and_simple =
        |row: &HeldOut| SIMPLE.contains(&row.text("op")) && row.number("bytes") > 10e6;
    let grid = |row: &&HeldOut| is_large_and_simple(row) && row.text("dtype") == "fp32";
    let simple = errors("simple, above 10 MB", rows.iter().filter(grid));
    assert!(simple.mape <= 0.01, "{simple:?}");
    let all = errors("fp16 too", rows.iter().filter(|row| is_large_and_simple(row)));
    assert!(all.mape <= 0.01, "{all:?}");
    for op in ["layernorm", "softmax", "rmsnorm"] {
        let norms = errors(op, rows.iter().filter(|row| row.text("op") == op));
        assert!(norms.mape <= 0.08, "{op}: {norms:?}");
    }
    for op in ["rope", "silu_mul_or_gelu", "fp8_cast", "fp8_amax_scale"] {
        let passes = errors(op, rows.iter().filter(|row| row.text("op") == op));
        assert!(passes.mape <= 0.08, "{op}: {passes:?}");
    }
}
