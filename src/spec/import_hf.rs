//! A Hugging Face `config.json` as a model file.
//!
//! Defaults are those of the configuration classes of the `transformers` library; each one used
//! is noted, and what a model cannot say is refused.

mod experts;

use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::check::{Parts, check_parts};
use super::{Activation, Model, Norm, Position};

/// `model_type` values that can be imported.
const DENSE: [&str; 9] =
    ["llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_neox", "bloom", "mpt", "nemotron"];

/// Largest number of a configuration; products of two stay far inside `u64`.
const MOST: u64 = 1 << 28;

/// Why a configuration cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A model family that has no rules here.
    #[error("model_type {found} is not supported; supported are {}", experts::supported())]
    UnknownType {
        /// What the file says.
        found: String,
    },
    /// A mixture of experts.
    #[error(
        "`{key}` makes this a mixture of experts of an unknown kind; supported are {}",
        experts::supported()
    )]
    Experts {
        /// The key that says so.
        key: String,
    },
    /// A key that must be there is not.
    #[error("the key `{0}` is missing")]
    Missing(String),
    /// A key has a value of another type or out of range.
    #[error("`{key}` = {found}: must be {expected}")]
    Wrong {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// The model breaks a rule of model files.
    #[error("{0}")]
    Impossible(String),
}

/// A model read from a configuration.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// Keys of the configuration that had no use.
    pub unused: Vec<String>,
    /// Defaults that stood in for absent keys, as sentences.
    pub assumed: Vec<String>,
}

impl Imported {
    /// The model as a TOML file.
    ///
    /// # Errors
    /// When TOML cannot say it, which would be a bug.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&self.model)
    }
}

/// Reads a Hugging Face `config.json`; `origin` names it in the model's sources.
///
/// # Errors
/// When it is not JSON, not a supported model, or misses a key.
pub fn import_hugging_face(text: &str, name: &str, origin: &str) -> Result<Imported, ImportError> {
    let map: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| ImportError::NotJson(error.to_string()))?;
    let config = Config { map: &map, used: RefCell::default(), assumed: RefCell::default() };
    let found = config.raw("model_type").map_or("(absent)".to_owned(), Value::to_string);
    let kind = config.raw("model_type").and_then(Value::as_str).unwrap_or_default();
    let with_experts = experts::model(&config, kind);
    if with_experts.is_none()
        && let Some(key) = experts::KEYS.iter().find(|key| config.is_set(key))
    {
        return Err(ImportError::Experts { key: (*key).to_owned() });
    }
    let mut model = match (with_experts, kind) {
        (Some(model), _) => model?,
        (_, "llama" | "mistral" | "qwen2" | "qwen3") => llama_like(&config, kind)?,
        (_, "nemotron") => nemotron(&config)?,
        (_, "gpt2") => gpt2(&config)?,
        (_, "gpt_neox") => gpt_neox(&config)?,
        (_, "bloom") => bloom(&config)?,
        (_, "mpt") => mpt(&config)?,
        _ => return Err(ImportError::UnknownType { found }),
    };
    model.name = name.to_owned();
    for key in ["layer_count", "hidden_size", "ffn_size", "head_count", "vocabulary_size"] {
        model.sources.insert(key.to_owned(), origin.to_owned());
    }
    let used = config.used.into_inner();
    let unused = map.keys().filter(|key| !used.contains(*key)).cloned().collect();
    let parts = Parts { model: Some(model.clone()), ..Parts::default() };
    if let Some(problem) = check_parts(&parts).first() {
        return Err(ImportError::Impossible(problem.to_string()));
    }
    Ok(Imported { model, unused, assumed: config.assumed.into_inner() })
}

/// The configuration, with a record of what was read from it.
struct Config<'a> {
    map: &'a Map<String, Value>,
    used: RefCell<BTreeSet<String>>,
    assumed: RefCell<Vec<String>>,
}

impl Config<'_> {
    /// The value of a key; null counts as absent.
    fn raw(&self, key: &str) -> Option<&Value> {
        self.used.borrow_mut().insert(key.to_owned());
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key says something other than zero or no.
    fn is_set(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Number(number) => number.as_f64() != Some(0.0),
            _ => true,
        })
    }

    fn whole_of(key: &str, value: &Value) -> Result<u64, ImportError> {
        let number = value.as_u64().filter(|number| (1..=MOST).contains(number));
        number.ok_or_else(|| wrong(key, value, "a whole number above zero and below 2^28"))
    }

    fn optional(&self, key: &str) -> Result<Option<u64>, ImportError> {
        self.raw(key).map(|value| Self::whole_of(key, value)).transpose()
    }

    /// The first of several names of a key that is there.
    fn whole(&self, keys: &[&str]) -> Result<u64, ImportError> {
        for key in keys {
            if let Some(number) = self.optional(key)? {
                return Ok(number);
            }
        }
        Err(ImportError::Missing(keys.join("` or `")))
    }

    /// A truth, or the default of the configuration class.
    fn truth(&self, key: &str, default: bool) -> Result<bool, ImportError> {
        match self.raw(key) {
            Some(value) => value.as_bool().ok_or_else(|| wrong(key, value, "true or false")),
            None => {
                self.assume(&format!("{key} = {default}, the default of this model_type"));
                Ok(default)
            }
        }
    }

    /// A text that must be one of a few; the first of them when absent.
    fn one_of(&self, key: &str, allowed: &[&str]) -> Result<(), ImportError> {
        match self.raw(key) {
            None => {
                self.assume(&format!("{key} = {:?}, the default of this model_type", allowed[0]));
                Ok(())
            }
            Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(()),
            Some(value) => Err(wrong(key, value, &format!("one of {}", allowed.join(", ")))),
        }
    }

    /// A switch for something that a model file cannot say.
    fn must_be_off(&self, key: &str) -> Result<(), ImportError> {
        if self.is_set(key) {
            let value = self.map.get(key).unwrap_or(&Value::Null);
            return Err(wrong(key, value, "off: model files cannot say it"));
        }
        self.used.borrow_mut().insert(key.to_owned());
        Ok(())
    }

    fn assume(&self, sentence: &str) {
        self.assumed.borrow_mut().push(sentence.to_owned());
    }
}

fn wrong(key: &str, value: &Value, expected: &str) -> ImportError {
    ImportError::Wrong {
        key: key.to_owned(),
        found: value.to_string(),
        expected: expected.to_owned(),
    }
}

/// A model of the given widths; layer norms with biases, two matrices in the MLP, no positions.
fn plain(layers: u64, hidden: u64, ffn: u64, heads: u64, vocabulary: u64) -> Model {
    Model {
        name: String::new(),
        parameter_count: None,
        layer_count: layers,
        hidden_size: hidden,
        ffn_size: ffn,
        head_count: heads,
        kv_head_count: None,
        head_dim: None,
        vocabulary_size: vocabulary,
        activation: Activation::Gelu,
        norm: Norm::Layernorm,
        position: Position::None,
        position_count: None,
        tied_embeddings: false,
        linear_bias: false,
        qkv_bias: false,
        norm_bias: true,
        qk_norm: false,
        embedding_norm: false,
        experts: None,
        latent_attention: None,
        sliding_window: None,
        sources: BTreeMap::new(),
    }
}

fn common(config: &Config<'_>) -> Result<Model, ImportError> {
    Ok(plain(
        config.whole(&["num_hidden_layers"])?,
        config.whole(&["hidden_size"])?,
        config.whole(&["intermediate_size"])?,
        config.whole(&["num_attention_heads"])?,
        config.whole(&["vocab_size"])?,
    ))
}

/// Whether both biases are on; one alone cannot be said.
fn both_biases(config: &Config<'_>) -> Result<bool, ImportError> {
    let attention = config.truth("attention_bias", false)?;
    let mlp = config.truth("mlp_bias", false)?;
    if attention != mlp {
        let key = if attention { "attention_bias" } else { "mlp_bias" };
        let expected = "the same as the other of attention_bias and mlp_bias";
        return Err(wrong(key, &Value::Bool(true), expected));
    }
    Ok(attention)
}

fn llama_like(config: &Config<'_>, kind: &str) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["silu"])?;
    let linear_bias = match kind {
        "llama" => both_biases(config)?,
        "qwen3" => {
            config.must_be_off("attention_bias")?;
            false
        }
        _ => false,
    };
    // A window changes the work of attention. Qwen configurations name one that they do not use.
    if kind == "mistral" || config.is_set("use_sliding_window") {
        config.must_be_off("sliding_window")?;
    }
    let kv_heads = config.optional("num_key_value_heads")?;
    if kv_heads.is_none() && kind != "llama" {
        return Err(ImportError::Missing("num_key_value_heads".to_owned()));
    }
    let head_dim = config.optional("head_dim")?;
    if head_dim.is_none() && kind == "qwen3" {
        return Err(ImportError::Missing("head_dim".to_owned()));
    }
    Ok(Model {
        kv_head_count: kv_heads,
        head_dim,
        activation: Activation::Swiglu,
        norm: Norm::Rmsnorm,
        position: Position::Rotary,
        tied_embeddings: config.truth("tie_word_embeddings", false)?,
        linear_bias,
        qkv_bias: kind == "qwen2",
        norm_bias: false,
        qk_norm: kind == "qwen3",
        ..common(config)?
    })
}

fn nemotron(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["relu2"])?;
    Ok(Model {
        kv_head_count: config.optional("num_key_value_heads")?,
        head_dim: config.optional("head_dim")?,
        activation: Activation::SquaredRelu,
        position: Position::Rotary,
        tied_embeddings: config.truth("tie_word_embeddings", false)?,
        linear_bias: both_biases(config)?,
        ..common(config)?
    })
}

fn gpt2(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("activation_function", &["gelu_new", "gelu", "gelu_fast"])?;
    let hidden = config.whole(&["n_embd"])?;
    let ffn = config.optional("n_inner")?.unwrap_or(4 * hidden);
    let layers = config.whole(&["n_layer"])?;
    let heads = config.whole(&["n_head"])?;
    Ok(Model {
        position: Position::Learned,
        position_count: Some(config.whole(&["n_positions", "n_ctx"])?),
        tied_embeddings: config.truth("tie_word_embeddings", true)?,
        linear_bias: true,
        ..plain(layers, hidden, ffn, heads, config.whole(&["vocab_size"])?)
    })
}

fn gpt_neox(config: &Config<'_>) -> Result<Model, ImportError> {
    config.one_of("hidden_act", &["gelu", "gelu_new", "gelu_fast"])?;
    if !config.truth("attention_bias", true)? {
        return Err(wrong("attention_bias", &Value::Bool(false), "true"));
    }
    Ok(Model {
        position: Position::Rotary,
        tied_embeddings: config.truth("tie_word_embeddings", false)?,
        linear_bias: true,
        ..common(config)?
    })
}

fn bloom(config: &Config<'_>) -> Result<Model, ImportError> {
    let hidden = config.whole(&["hidden_size", "n_embed"])?;
    let layers = config.whole(&["n_layer", "num_hidden_layers"])?;
    let heads = config.whole(&["n_head", "num_attention_heads"])?;
    Ok(Model {
        position: Position::Alibi,
        tied_embeddings: config.truth("tie_word_embeddings", true)?,
        linear_bias: true,
        embedding_norm: true,
        ..plain(layers, hidden, 4 * hidden, heads, config.whole(&["vocab_size"])?)
    })
}

fn mpt(config: &Config<'_>) -> Result<Model, ImportError> {
    let hidden = config.whole(&["d_model"])?;
    let ratio = config.whole(&["expansion_ratio"])?;
    let empty = Map::new();
    let attention = match config.raw("attn_config") {
        None => &empty,
        Some(Value::Object(attention)) => attention,
        Some(value) => return Err(wrong("attn_config", value, "an object")),
    };
    let inner = Config { map: attention, used: RefCell::default(), assumed: RefCell::default() };
    inner.must_be_off("qk_ln")?;
    let is_alibi = inner.truth("alibi", true)?;
    let kv_heads = inner.optional("kv_n_heads")?;
    config.assumed.borrow_mut().append(&mut inner.assumed.borrow_mut());
    let bias = !config.truth("no_bias", true)?;
    let layers = config.whole(&["n_layers"])?;
    let heads = config.whole(&["n_heads"])?;
    let positions = config.optional("max_seq_len")?;
    let ffn = ratio
        .checked_mul(hidden)
        .ok_or_else(|| wrong("expansion_ratio", &Value::from(ratio), "a ratio such as 4"))?;
    Ok(Model {
        kv_head_count: kv_heads,
        position: if is_alibi { Position::Alibi } else { Position::Learned },
        position_count: positions.filter(|_| !is_alibi),
        tied_embeddings: config.truth("tie_word_embeddings", true)?,
        linear_bias: bias,
        norm_bias: bias,
        ..plain(layers, hidden, ffn, heads, config.whole(&["vocab_size"])?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Configurations in short, each with the parameter count that its checkpoint has on the hub.
    const KNOWN: [(&str, f64); 8] = [
        // gpt2
        (
            r#"{"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12,
                "n_positions": 1024, "vocab_size": 50257, "activation_function": "gelu_new"}"#,
            124_439_808.0,
        ),
        // bigscience/bloom-560m
        (
            r#"{"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16,
                "vocab_size": 250880}"#,
            559_214_592.0,
        ),
        // Qwen/Qwen2-0.5B
        (
            r#"{"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
                "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                "vocab_size": 151936, "tie_word_embeddings": true, "sliding_window": 32768,
                "use_sliding_window": false}"#,
            494_032_768.0,
        ),
        // Qwen/Qwen3-0.6B
        (
            r#"{"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
                "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
                "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": true}"#,
            596_049_920.0,
        ),
        // mistralai/Mistral-7B-v0.3
        (
            r#"{"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                "vocab_size": 32768, "sliding_window": null, "tie_word_embeddings": false}"#,
            7_248_023_552.0,
        ),
        // EleutherAI/pythia-70m
        (
            r#"{"model_type": "gpt_neox", "hidden_size": 512, "intermediate_size": 2048,
                "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 50304,
                "hidden_act": "gelu", "rotary_pct": 0.25}"#,
            70_426_624.0,
        ),
        // mosaicml/mpt-7b
        (
            r#"{"model_type": "mpt", "d_model": 4096, "n_layers": 32, "n_heads": 32,
                "expansion_ratio": 4, "vocab_size": 50432, "max_seq_len": 2048, "no_bias": true,
                "attn_config": {"alibi": true, "qk_ln": false}}"#,
            6_649_286_656.0,
        ),
        // By hand, in the shape of nvidia/Minitron-4B-Base: a layer has 3072 x (3072 + 2 x 1024)
        // + 3072 x 3072 + 2 x 3072 x 9216 weights and 2 x 2 x 3072 of norms; 32 of them, a last
        // norm, and two tables of 256,000 x 3072.
        (
            r#"{"model_type": "nemotron", "hidden_size": 3072, "intermediate_size": 9216,
                "num_hidden_layers": 32, "num_attention_heads": 24, "num_key_value_heads": 8,
                "head_dim": 128, "vocab_size": 256000, "hidden_act": "relu2"}"#,
            32.0 * (15_728_640.0 + 9_437_184.0 + 56_623_104.0 + 12_288.0)
                + 6_144.0
                + 2.0 * 786_432_000.0,
        ),
    ];

    #[test]
    fn imported_models_have_the_published_parameters() {
        for (text, parameters) in KNOWN {
            let imported = import_hugging_face(text, "test", "test").unwrap();
            assert_eq!(imported.model.parameters(), parameters, "{text}");
            let again: Model = toml::from_str(&imported.to_toml().unwrap()).unwrap();
            assert_eq!(again, imported.model);
        }
    }

    #[test]
    fn a_sliding_window_is_refused_where_it_is_used() {
        for index in [2, 4] {
            let text = KNOWN[index].0;
            let text =
                text.replace("\"use_sliding_window\": false", "\"use_sliding_window\": true");
            let text = text.replace("\"sliding_window\": null", "\"sliding_window\": 4096");
            let error = import_hugging_face(&text, "test", "test").unwrap_err();
            assert!(error.to_string().contains("sliding_window"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_change_of_a_number_panics(
            index in 0..8usize,
            number in any::<u64>(),
            bits in 0..64u32,
            place in any::<prop::sample::Index>(),
        ) {
            let text = KNOWN[index].0;
            let digits = text.char_indices().filter(|at| at.1.is_ascii_digit());
            let digits: Vec<usize> = digits.map(|at| at.0).collect();
            let at = digits[place.index(digits.len())];
            let changed = format!("{}{}{}", &text[..at], number >> bits, &text[at + 1..]);
            if let Ok(imported) = import_hugging_face(&changed, "test", "test") {
                prop_assert!(imported.model.parameters() > 0.0);
            }
        }
    }
}
