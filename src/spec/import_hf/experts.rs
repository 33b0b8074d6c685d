//! Configurations of mixtures of experts.

use serde_json::Value;

use super::{Config, DENSE, ImportError, common, wrong};
use crate::spec::model::{Experts, LatentAttention, SlidingWindow};
use crate::spec::{Activation, Model, Norm, Position};

/// `model_type` values with experts that can be imported.
const SUPPORTED: [&str; 6] =
    ["mixtral", "qwen3_moe", "deepseek_v2", "deepseek_v3", "kimi_k2", "gpt_oss"];

/// Keys that mean experts wherever they are set.
pub(super) const KEYS: [&str; 5] = [
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
];

/// Values of `model_type` that can be imported, for people.
pub(super) fn supported() -> String {
    [&DENSE[..], &SUPPORTED].concat().join(", ")
}

/// The model of a configuration; `None` for a `model_type` without rules here.
pub(super) fn model(config: &Config<'_>, kind: &str) -> Option<Result<Model, ImportError>> {
    Some(match kind {
        "mixtral" => mixtral(config),
        "qwen3_moe" => qwen3(config),
        "deepseek_v2" | "deepseek_v3" | "kimi_k2" => deepseek(config),
        "gpt_oss" => gpt_oss(config),
        _ => return None,
    })
}

fn gated(config: &Config<'_>, model: Model) -> Result<Model, ImportError> {
    Ok(Model {
        kv_head_count: config.optional("num_key_value_heads")?,
        activation: Activation::Swiglu,
        norm: Norm::Rmsnorm,
        position: Position::Rotary,
        tied_embeddings: config.truth("tie_word_embeddings", false)?,
        norm_bias: false,
        ..model
    })
}

fn plain(count: u64, top_k: u64, ffn_size: u64) -> Experts {
    Experts { count, top_k, ffn_size, shared_ffn_size: 0, dense_layers: 0, every: 1 }
}

fn mixtral(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["silu"])?;
    config.must_be_off("sliding_window")?;
    let model = common(config)?;
    let (count, top_k) =
        (config.whole(&["num_local_experts"])?, config.whole(&["num_experts_per_tok"])?);
    let experts = plain(count, top_k, model.ffn_size);
    gated(config, Model { experts: Some(experts), ..model })
}

fn qwen3(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["silu"])?;
    config.must_be_off("attention_bias")?;
    if config.is_set("use_sliding_window") {
        config.must_be_off("sliding_window")?;
    }
    if let Some(Value::Array(layers)) = config.raw("mlp_only_layers")
        && !layers.is_empty()
    {
        let value = Value::Array(layers.clone());
        return Err(wrong("mlp_only_layers", &value, "empty: model files cannot say it"));
    }
    let every = config.optional("decoder_sparse_step")?.unwrap_or(1);
    let experts = Experts {
        every,
        ..plain(
            config.whole(&["num_experts"])?,
            config.whole(&["num_experts_per_tok"])?,
            config.whole(&["moe_intermediate_size"])?,
        )
    };
    let head_dim = Some(config.whole(&["head_dim"])?);
    gated(config, Model { head_dim, qk_norm: true, experts: Some(experts), ..common(config)? })
}

/// `DeepSeek`-V2 and V3, and Kimi K2, which is built like V3.
fn deepseek(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["silu"])?;
    config.must_be_off("attention_bias")?;
    let ffn_size = config.whole(&["moe_intermediate_size"])?;
    let shared = config.optional("n_shared_experts")?.unwrap_or(0);
    let experts = Experts {
        shared_ffn_size: shared.saturating_mul(ffn_size),
        // 0 is a model without dense layers, which `optional` has no way to say.
        dense_layers: config.raw("first_k_dense_replace").and_then(Value::as_u64).unwrap_or(0),
        every: config.optional("moe_layer_freq")?.unwrap_or(1),
        ..plain(
            config.whole(&["n_routed_experts"])?,
            config.whole(&["num_experts_per_tok"])?,
            ffn_size,
        )
    };
    let latent = LatentAttention {
        query_rank: config.optional("q_lora_rank")?,
        key_value_rank: config.whole(&["kv_lora_rank"])?,
        plain_dim: config.whole(&["qk_nope_head_dim"])?,
        rotary_dim: config.whole(&["qk_rope_head_dim"])?,
        value_dim: config.whole(&["v_head_dim"])?,
    };
    let model = gated(config, common(config)?)?;
    Ok(Model { experts: Some(experts), latent_attention: Some(latent), ..model })
}

fn gpt_oss(config: &Config<'_>) -> Result<Model, ImportError> {
    let model = common(config)?;
    let (count, top_k) = (
        config.whole(&["num_local_experts"])?,
        config.whole(&["num_experts_per_tok", "experts_per_token"])?,
    );
    // `layer_types` alternates, a window first.
    let sliding_window =
        config.optional("sliding_window")?.map(|tokens| SlidingWindow { tokens, every: 2 });
    let experts = plain(count, top_k, model.ffn_size);
    let head_dim = Some(config.whole(&["head_dim"])?);
    let linear_bias = config.truth("attention_bias", true)?;
    let model = Model { head_dim, linear_bias, sliding_window, experts: Some(experts), ..model };
    gated(config, model)
}

#[cfg(test)]
mod tests {
    use crate::spec::import_hugging_face;

    /// Configurations in short, each with the parameter count that its checkpoint has on the hub.
    const KNOWN: [(&str, f64); 3] = [
        // mistralai/Mixtral-8x7B-v0.1
        (
            r#"{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                "vocab_size": 32000, "sliding_window": null, "num_local_experts": 8,
                "num_experts_per_tok": 2, "tie_word_embeddings": false}"#,
            46_702_792_704.0,
        ),
        // Qwen/Qwen3-30B-A3B
        (
            r#"{"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
                "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
                "head_dim": 128, "vocab_size": 151936, "num_experts": 128,
                "num_experts_per_tok": 8, "moe_intermediate_size": 768,
                "decoder_sparse_step": 1, "mlp_only_layers": [], "attention_bias": false,
                "tie_word_embeddings": false}"#,
            30_532_122_624.0,
        ),
        // deepseek-ai/DeepSeek-V2
        (
            r#"{"model_type": "deepseek_v2", "hidden_size": 5120, "intermediate_size": 12288,
                "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128,
                "vocab_size": 102400, "n_routed_experts": 160, "num_experts_per_tok": 6,
                "moe_intermediate_size": 1536, "n_shared_experts": 2, "moe_layer_freq": 1,
                "first_k_dense_replace": 1, "q_lora_rank": 1536, "kv_lora_rank": 512,
                "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                "attention_bias": false, "tie_word_embeddings": false}"#,
            235_741_434_880.0,
        ),
    ];

    #[test]
    fn imported_mixtures_have_the_published_parameters() {
        for (text, parameters) in KNOWN {
            let imported = import_hugging_face(text, "test", "test").unwrap();
            assert_eq!(imported.model.parameters(), parameters, "{text}");
            let again = toml::from_str(&imported.to_toml().unwrap());
            assert_eq!(again, Ok(imported.model));
        }
    }

    #[test]
    fn experts_of_a_family_without_rules_are_refused() {
        let text = r#"{"model_type": "llama", "hidden_size": 64, "num_local_experts": 4}"#;
        let error = import_hugging_face(text, "test", "test").unwrap_err();
        assert!(error.to_string().contains("num_local_experts"), "{error}");
    }
}
