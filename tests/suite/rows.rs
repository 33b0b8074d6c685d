//! Rows of tables of runs: what a source leaves unsaid is what the recipes of its stack do.

use stepcast::calibrate::Table;
use stepcast::spec::{Activation, DataSources, Scenario, load_text};
use stepcast::validate::{Assignment, read_runs};

const COLUMNS: &str = "id,family,stack,model,layers,hidden,ffn,mlp,heads,vocab,seq_len,gpu,gpus,\
                       cluster,tp,pp,vp,dp,sequence_parallel,tp_overlap,global_batch,precision,\
                       step_time_s,experts";

/// The scenario of a run of 96 layers on 128 H100, tp 4 and pp 8.
fn scenario(stack: &str, model: &str, chunks: u64, tp_overlap: &str) -> Scenario {
    let row = format!(
        "run,family,{stack},{model},96,12288,49152,gelu,96,51200,2048,H100-SXM-80GB,128,\
         dgx-h100-ndr,4,8,{chunks},4,no,{tp_overlap},256,bf16,8.3,"
    );
    let text = format!("{COLUMNS}\n{row}\n");
    let table = Table::read("runs.csv", text.as_bytes()).unwrap();
    let sources = DataSources::shipped();
    let entries = read_runs(&sources, &table, &Assignment::default()).unwrap();
    let text = entries[0].scenario.as_ref().unwrap();
    load_text(&sources, "run", text, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

#[test]
fn tensor_parallelism_that_pipelines_with_products_cuts_the_sequence() {
    assert!(scenario("nemo-2025", "GPT3 175B", 6, "yes").plan.sequence_parallel);
    assert!(!scenario("nemo-2025", "GPT3 175B", 6, "no").plan.sequence_parallel);
}

#[test]
fn dense_recipes_of_nemo_that_pipeline_interleave() {
    assert_eq!(scenario("nemo-2025", "Nemotron4 340B", 1, "yes").plan.virtual_stages, 12);
    assert_eq!(scenario("nemo-2025", "Nemotron4 340B", 6, "yes").plan.virtual_stages, 6);
    assert_eq!(scenario("megatron-core", "Nemotron4 340B", 1, "yes").plan.virtual_stages, 1);
}

#[test]
fn nemotron_squares_a_relu_and_gpt_of_2024_drops_out() {
    let nemotron = scenario("nemo-2024", "Nemotron-340B", 12, "yes");
    assert_eq!(nemotron.model.activation, Activation::SquaredRelu);
    assert_ne!(nemotron.training.dropout, Some(true));
    let gpt = |stack| scenario(stack, "GPT3 20B", 6, "yes").training.dropout;
    assert_eq!(gpt("nemo-2024"), Some(true));
    assert_ne!(gpt("nemo-2025"), Some(true));
}
