//! Layers that differ: experts on some of them, a window of attention on some, latent projections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Model;

/// Experts of a layer and which layers have them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// Routed experts of a layer.
    pub count: u64,
    /// Routed experts that a token goes to.
    pub top_k: u64,
    /// Width of an expert between its matrices.
    pub ffn_size: u64,
    /// Width of all shared experts together, which every token passes; 0 for none.
    #[serde(default)]
    pub shared_ffn_size: u64,
    /// First layers that have an MLP instead.
    #[serde(default)]
    pub dense_layers: u64,
    /// Of the layers after those, each how-many-th has experts, the last of such a group (Llama 4
    /// Maverick: 2).
    #[serde(default = "one")]
    pub every: u64,
}

/// Multi-head latent attention (`DeepSeek`-AI 2024, `DeepSeek`-V2, section 2.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// Width of the latent of queries; absent where queries are projected at once.
    #[serde(default)]
    pub query_rank: Option<u64>,
    /// Width of the latent of keys and values.
    pub key_value_rank: u64,
    /// Part of a query or key head that is not rotated.
    pub plain_dim: u64,
    /// Part of a query or key head that is rotated; one key for all heads.
    pub rotary_dim: u64,
    /// Width of a value head.
    pub value_dim: u64,
}

/// Attention to the last tokens only, on some layers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlidingWindow {
    /// Tokens that a query sees.
    pub tokens: u64,
    /// Of so many layers the last sees the whole sequence, the others the window (GPT-OSS: 2).
    pub every: u64,
}

fn one() -> u64 {
    1
}

/// What tells layers of a model apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerKind {
    /// Whether it has experts.
    pub experts: bool,
    /// Whether its attention sees a window.
    pub window: bool,
}

/// Parameters of a layer, by how plans cut them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerParameters {
    /// Cut over tensor-parallel ranks: matrices of attention, MLP and shared experts.
    pub cut: f64,
    /// Whole on each tensor-parallel rank: norms, biases of row-parallel layers, the router, the
    /// narrowing matrices of latent attention.
    pub whole: f64,
    /// Of all routed experts: cut over expert-parallel and expert-tensor-parallel ranks.
    pub experts: f64,
}

impl LayerParameters {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.cut + self.whole + self.experts
    }
}

impl Experts {
    fn has(&self, layer: u64) -> bool {
        let Some(place) = layer.checked_sub(self.dense_layers) else { return false };
        place % self.every.max(1) == self.every.max(1) - 1
    }
}

impl LatentAttention {
    /// Width of a query or key head.
    pub fn key_dim(&self) -> u64 {
        self.plain_dim + self.rotary_dim
    }
}

impl Model {
    /// What kind a layer is, by its place from 0.
    pub fn layer_kind(&self, layer: u64) -> LayerKind {
        let window = self.sliding_window.as_ref().is_some_and(|window| {
            let every = window.every.max(1);
            layer % every != every - 1
        });
        LayerKind { experts: self.experts.as_ref().is_some_and(|it| it.has(layer)), window }
    }

    /// The kinds of layers that there are, each once, those of the first layers first.
    pub fn layer_kinds(&self) -> Vec<LayerKind> {
        let mut kinds = Vec::new();
        for layer in 0..self.layer_count.min(self.first_like(self.layer_count) + self.period()) {
            let kind = self.layer_kind(layer);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Layers after which kinds repeat.
    fn period(&self) -> u64 {
        let experts = self.experts.as_ref().map_or(1, |it| it.every.max(1));
        let window = self.sliding_window.as_ref().map_or(1, |it| it.every.max(1));
        experts.saturating_mul(window)
    }

    /// The first layer from which on kinds follow each other as they do from `layer` on.
    pub fn first_like(&self, layer: u64) -> u64 {
        let start = self.experts.as_ref().map_or(0, |it| it.dense_layers);
        let period = self.period();
        // The window's pattern begins at layer 0, that of experts after the dense layers.
        let aligned = start.div_ceil(period) * period;
        if layer < aligned { layer } else { aligned + (layer - aligned) % period }
    }

    /// Parameters of a transformer layer, by its place from 0.
    pub fn layer_parameters(&self, layer: u64) -> LayerParameters {
        self.parameters_of_kind(self.layer_kind(layer))
    }

    /// Parameters of a transformer layer of a kind.
    pub fn parameters_of_kind(&self, kind: LayerKind) -> LayerParameters {
        let mut count = self.attention_parameters();
        let hidden = self.hidden_size as f64;
        count.whole += 2.0 * self.norm_parameters();
        match self.experts.as_ref().filter(|_| kind.experts) {
            Some(experts) => {
                let (one, bias) = self.mlp_parameters(experts.ffn_size as f64);
                count.experts = experts.count as f64 * (one + bias);
                if experts.shared_ffn_size > 0 {
                    let (shared, bias) = self.mlp_parameters(experts.shared_ffn_size as f64);
                    count.cut += shared;
                    count.whole += bias;
                }
                count.whole += experts.count as f64 * hidden;
                if self.linear_bias {
                    count.whole += experts.count as f64;
                }
            }
            None => {
                let (cut, whole) = self.mlp_parameters(self.ffn_size as f64);
                count.cut += cut;
                count.whole += whole;
            }
        }
        count
    }

    /// Parameters of an MLP of some width: what is cut over tensor-parallel ranks, and the bias
    /// that is not.
    fn mlp_parameters(&self, ffn: f64) -> (f64, f64) {
        let hidden = self.hidden_size as f64;
        let widened = self.mlp_input_matrices() as f64 * ffn;
        let cut = hidden * (widened + ffn) + if self.linear_bias { widened } else { 0.0 };
        (cut, if self.linear_bias { hidden } else { 0.0 })
    }

    fn attention_parameters(&self) -> LayerParameters {
        let hidden = self.hidden_size as f64;
        if let Some(latent) = &self.latent_attention {
            return self.latent_parameters(latent);
        }
        let query = (self.head_count * self.head_width()) as f64;
        let key_value = 2.0 * (self.kv_heads() * self.head_width()) as f64;
        let mut count = LayerParameters {
            cut: hidden * (query + key_value) + query * hidden,
            ..LayerParameters::default()
        };
        if self.linear_bias {
            count.cut += query + key_value;
            count.whole += hidden;
        } else if self.qkv_bias {
            count.cut += query + key_value;
        }
        if self.qk_norm {
            count.whole += 2.0 * self.head_width() as f64;
        }
        count
    }

    /// Narrowing matrices and their norms are whole on each rank, widening ones are cut by heads.
    fn latent_parameters(&self, latent: &LatentAttention) -> LayerParameters {
        let (hidden, heads) = (self.hidden_size as f64, self.head_count as f64);
        let (key, value) = (latent.key_dim() as f64, latent.value_dim as f64);
        let rank = latent.key_value_rank as f64;
        let mut count = LayerParameters {
            cut: rank * heads * (latent.plain_dim as f64 + value) + heads * value * hidden,
            whole: hidden * (rank + latent.rotary_dim as f64) + rank,
            experts: 0.0,
        };
        match latent.query_rank {
            Some(query) => {
                count.whole += hidden * query as f64 + query as f64;
                count.cut += query as f64 * heads * key;
            }
            None => count.cut += hidden * heads * key,
        }
        count
    }

    /// Parameters that a token meets: all but those of the experts that it does not go to.
    pub fn active_parameters(&self) -> f64 {
        let idle =
            self.experts.as_ref().map_or(0.0, |it| 1.0 - it.top_k as f64 / it.count.max(1) as f64);
        let experts: f64 =
            (0..self.layer_count).map(|index| self.layer_parameters(index).experts).sum();
        self.parameters() - idle * experts
    }
}
