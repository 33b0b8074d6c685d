//! Did-you-mean.

/// What other tools call our keys, and what people type for them.
const ALIASES: &[(&str, &str)] = &[
    ("tensor", "tp"),
    ("tensor_parallel", "tp"),
    ("tensor_parallel_size", "tp"),
    ("tensor_model_parallel_size", "tp"),
    ("pipeline", "pp"),
    ("pipeline_parallel", "pp"),
    ("pipeline_model_parallel_size", "pp"),
    ("context", "cp"),
    ("context_parallel", "cp"),
    ("context_parallel_size", "cp"),
    ("expert", "ep"),
    ("data", "dp"),
    ("data_parallel", "dp"),
    ("data_parallel_size", "dp"),
    ("zero_stage", "zero"),
    ("seq_len", "sequence_length"),
    ("seq_length", "sequence_length"),
    ("micro_batch_size", "micro_batch"),
    ("mbs", "micro_batch"),
    ("global_batch_size", "global_batch"),
    ("gbs", "global_batch"),
    ("batch_size", "global_batch"),
    ("dtype", "precision"),
    ("num_layers", "layer_count"),
    ("num_hidden_layers", "layer_count"),
    ("layers", "layer_count"),
    ("num_attention_heads", "head_count"),
    ("heads", "head_count"),
    ("num_key_value_heads", "kv_head_count"),
    ("intermediate_size", "ffn_size"),
    ("ffn_hidden_size", "ffn_size"),
    ("vocab_size", "vocabulary_size"),
    ("nodes", "node_count"),
    ("gpus", "gpus_per_node"),
    ("interleaved_1f1b", "interleaved"),
    ("activation_checkpointing", "recompute"),
];

/// The allowed name that a wrong one most likely means.
pub(super) fn nearest<'a>(
    wrong: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = wrong.to_lowercase().replace('-', "_");
    let alias = ALIASES.iter().find(|alias| alias.0 == lower).map(|alias| alias.1);
    let score = |name: &str| {
        if alias == Some(name) {
            return 2.0;
        }
        strsim::jaro_winkler(&name.to_lowercase().replace('-', "_"), &lower)
    };
    allowed
        .into_iter()
        .map(|name| (score(name), name))
        .filter(|scored| scored.0 > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0).then_with(|| right.1.cmp(left.1)))
        .map(|scored| scored.1)
}

/// Names in backticks with commas between, cut after `limit`.
pub(super) fn listed(names: &[&str], limit: usize) -> String {
    let mut text: Vec<String> = names.iter().take(limit).map(|name| format!("`{name}`")).collect();
    if names.len() > limit {
        text.push(format!("and {} more", names.len() - limit));
    }
    text.join(", ")
}
