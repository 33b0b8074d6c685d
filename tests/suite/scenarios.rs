//! Scenarios of the tests, from text and shipped data.

use stepcast::program::{RankSelection, lower};
use stepcast::spec::{DataSources, Scenario, load_text};
use stepcast::{Detail, Prediction, plan::Layout, program::Program, simulate};

/// A scenario from its text; anything wrong with it fails the test.
pub(crate) fn scenario(text: &str) -> Scenario {
    load_text(&DataSources::shipped(), "scenario.toml", text, &[])
        .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)))
}

/// The predicted step of a scenario.
pub(crate) fn predict(scenario: &Scenario, detail: Detail) -> Prediction {
    simulate(scenario, detail).unwrap_or_else(|error| panic!("{error}: {:?}", scenario.plan))
}

/// The layout and the instructions of all ranks of a scenario.
pub(crate) fn lowered(scenario: &Scenario) -> (Layout, Program) {
    let layout = Layout::new(scenario).unwrap_or_else(|error| panic!("{error}"));
    let program = lower(scenario, &layout, RankSelection::All);
    (layout, program)
}

/// Llama 3 8B with fewer layers on H100 nodes, in bf16: `plan` and `training` are lines of their
/// tables, `extra` those before them.
pub(crate) fn small_llama(nodes: u64, stack: &str, plan: &str, batch: [u64; 2]) -> String {
    let [micro, global] = batch;
    format!(
        "model = {{ base = 'llama3-8b', layer_count = 8, parameter_count = 2.8e9 }}\n\
         cluster = {{ base = 'dgx-h100-ndr', node_count = {nodes} }}\nstack = {stack}\n\
         [plan]\n{plan}\n[training]\nsequence_length = 4096\nmicro_batch = {micro}\n\
         global_batch = {global}\nprecision = 'bf16'\n"
    )
}

/// Mixtral 8x7B with four layers on H100 nodes, in bf16, as [`small_llama`].
pub(crate) fn small_mixtral(nodes: u64, stack: &str, plan: &str, batch: [u64; 2]) -> String {
    small_llama(nodes, stack, plan, batch).replace(
        "{ base = 'llama3-8b', layer_count = 8, parameter_count = 2.8e9 }",
        "{ base = 'mixtral-8x7b', layer_count = 4, parameter_count = 6.067e9 }",
    )
}

/// DeepSeek-V3 with few and narrow layers, one of them dense, on H100 nodes.
pub(crate) fn small_deepseek(nodes: u64, stack: &str, plan: &str, batch: [u64; 2]) -> String {
    small_llama(nodes, stack, plan, batch).replace(
        "{ base = 'llama3-8b', layer_count = 8, parameter_count = 2.8e9 }",
        "{ base = 'deepseek-v3', layer_count = 4, hidden_size = 2048, head_count = 16, \
         ffn_size = 4096, parameter_count = 1.646e9, experts = { count = 32, top_k = 4, \
         ffn_size = 1024, shared_ffn_size = 1024, dense_layers = 1 } }",
    )
}
