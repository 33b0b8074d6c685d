//! The model: layers, widths, heads, vocabulary.

mod layers;

pub use layers::{Experts, LatentAttention, LayerKind, LayerParameters, SlidingWindow};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A decoder-only transformer, dense or with a mixture of experts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name for people.
    pub name: String,
    /// Published number of parameters; a check on the rest.
    #[serde(default)]
    pub parameter_count: Option<f64>,
    /// Transformer layers.
    pub layer_count: u64,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Width of the MLP of dense layers between its matrices.
    pub ffn_size: u64,
    /// Query heads.
    pub head_count: u64,
    /// Key and value heads; fewer than `head_count` for grouped-query attention.
    #[serde(default)]
    pub kv_head_count: Option<u64>,
    /// Width of a head; `hidden_size / head_count` when absent.
    #[serde(default)]
    pub head_dim: Option<u64>,
    /// Rows of the embedding table, padding included.
    pub vocabulary_size: u64,
    /// Activation of the MLP; `swiglu` has three matrices, the others two.
    pub activation: Activation,
    /// Kind of norm before attention, MLP and head.
    pub norm: Norm,
    /// How positions enter.
    pub position: Position,
    /// Rows of the position table, for learned positions.
    #[serde(default)]
    pub position_count: Option<u64>,
    /// Whether the output projection is the embedding table.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Whether linear layers have biases.
    #[serde(default)]
    pub linear_bias: bool,
    /// Whether the query, key and value projection has a bias though the others have none.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Whether norms have a bias beside their scale.
    #[serde(default)]
    pub norm_bias: bool,
    /// Whether queries and keys are normalised a head.
    #[serde(default)]
    pub qk_norm: bool,
    /// Whether the embedding output is normalised (BLOOM).
    #[serde(default)]
    pub embedding_norm: bool,
    /// Experts in place of the MLP; absent in dense models.
    #[serde(default)]
    pub experts: Option<Experts>,
    /// Queries, keys and values through a narrow latent (DeepSeek); absent where they are
    /// projected from the residual stream.
    #[serde(default)]
    pub latent_attention: Option<LatentAttention>,
    /// A window of attention on some layers; absent where all layers see the whole sequence.
    #[serde(default)]
    pub sliding_window: Option<SlidingWindow>,
    /// Where each number comes from, by key.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
}

/// Activation of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Gaussian error linear unit.
    Gelu,
    /// Gated SiLU: a third matrix.
    Swiglu,
    /// Squared rectifier (Nemotron-4).
    SquaredRelu,
}

/// Kind of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance.
    Layernorm,
    /// Root mean square only.
    Rmsnorm,
}

/// How positions enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Rotation of queries and keys.
    Rotary,
    /// A table added to the embedding.
    Learned,
    /// A bias on the scores, linear in distance.
    Alibi,
    /// Not at all.
    None,
}

impl Model {
    /// Key and value heads.
    pub fn kv_heads(&self) -> u64 {
        self.kv_head_count.unwrap_or(self.head_count)
    }

    /// Width of a head.
    pub fn head_width(&self) -> u64 {
        self.head_dim.unwrap_or(self.hidden_size / self.head_count.max(1))
    }

    /// Matrices of the MLP that widen: two when gated.
    pub fn mlp_input_matrices(&self) -> u64 {
        if self.activation == Activation::Swiglu { 2 } else { 1 }
    }

    /// Parameters of the matrices of one transformer layer.
    pub fn layer_matrices(&self) -> f64 {
        let (hidden, ffn) = (self.hidden_size as f64, self.ffn_size as f64);
        let query = (self.head_count * self.head_width()) as f64;
        let key_value = 2.0 * (self.kv_heads() * self.head_width()) as f64;
        let widened = (self.mlp_input_matrices() + 1) as f64 * ffn;
        hidden * (2.0 * query + key_value + widened)
    }

    /// Parameters of one norm over the residual stream.
    pub fn norm_parameters(&self) -> f64 {
        self.hidden_size as f64 * if self.norm_bias { 2.0 } else { 1.0 }
    }

    /// Parameters of the embedding on the first stage: table, positions, norm.
    pub fn embedding_parameters(&self) -> f64 {
        let table = self.vocabulary_size as f64 * self.hidden_size as f64;
        let positions = match self.position {
            Position::Learned => self.position_count.unwrap_or(0) as f64 * self.hidden_size as f64,
            Position::Rotary | Position::Alibi | Position::None => 0.0,
        };
        table + positions + if self.embedding_norm { self.norm_parameters() } else { 0.0 }
    }

    /// Parameters of the output projection on the last stage, tied or not.
    pub fn head_parameters(&self) -> f64 {
        self.vocabulary_size as f64 * self.hidden_size as f64
    }

    /// All parameters; a tied table counts once.
    pub fn parameters(&self) -> f64 {
        let head = if self.tied_embeddings { 0.0 } else { self.head_parameters() };
        let layers = (0..self.layer_count).map(|index| self.layer_parameters(index).total());
        layers.sum::<f64>() + self.embedding_parameters() + self.norm_parameters() + head
    }
}
