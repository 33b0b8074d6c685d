//! What a row says of a mixture of experts, and what its model's name says where it does not.

use toml::{Table as Toml, Value};

use super::scenario::{Described, number, text};
use crate::calibrate::Fault;

/// What tables leave to the model's name.
struct Architecture {
    /// Part of the name, lower case, without spaces and dashes.
    name: &'static str,
    /// First layers without experts of the whole model, and of one that was cut in depth.
    dense_layers: [u64; 2],
    /// Shared experts, each as wide as a routed one.
    shared: u64,
    /// Each how-many-th layer has experts.
    every: u64,
    /// Whether attention is latent, in the widths of `DeepSeek`-V2.
    is_latent: bool,
    /// Tokens of a window on every other layer.
    window: Option<u64>,
    /// Whether linear layers have biases.
    has_bias: bool,
    /// Whether queries and keys are normalised.
    has_qk_norm: bool,
}

/// A plain mixture of experts.
const PLAIN: Architecture = Architecture {
    name: "",
    dense_layers: [0, 0],
    shared: 0,
    every: 1,
    is_latent: false,
    window: None,
    has_bias: false,
    has_qk_norm: false,
};

/// The configurations of `models/`; `SimuMax` keeps one dense layer of a truncated model.
const KNOWN: [Architecture; 7] = [
    Architecture { name: "deepseekv2", dense_layers: [1, 1], shared: 2, is_latent: true, ..PLAIN },
    Architecture { name: "deepseekv3", dense_layers: [3, 1], shared: 1, is_latent: true, ..PLAIN },
    Architecture { name: "kimik2", dense_layers: [1, 1], shared: 1, is_latent: true, ..PLAIN },
    Architecture { name: "maverick", shared: 1, every: 2, ..PLAIN },
    Architecture { name: "llama4", shared: 1, ..PLAIN },
    Architecture { name: "gptoss", window: Some(128), has_bias: true, ..PLAIN },
    Architecture { name: "qwen3", has_qk_norm: true, ..PLAIN },
];

/// Layers from which on a model with latent attention is a whole one.
const WHOLE_LAYERS: u64 = 27;

impl Described<'_> {
    /// Whether the row's model has experts.
    pub(super) fn has_experts(&self) -> bool {
        self.row.text("experts").is_some()
    }

    /// Adds experts, latent attention and windows to a model.
    pub(super) fn experts(&self, model: &mut Toml) -> Result<(), Fault> {
        if !self.has_experts() {
            return Ok(());
        }
        let plain = |letter: &char| !matches!(letter, ' ' | '-' | '_');
        let name: String =
            self.row.text("model").unwrap_or_default().chars().filter(plain).collect();
        let name = name.to_lowercase();
        let known = KNOWN.iter().find(|known| name.contains(known.name)).unwrap_or(&PLAIN);
        let width = self.row.count("moe_ffn")? as u64;
        let shared = match self.row.text("shared_experts") {
            Some(_) => self.row.number("shared_experts")?.max(0.0) as u64,
            None => known.shared,
        };
        let is_cut = (self.row.count("layers")? as u64) < WHOLE_LAYERS;
        let mut experts = Toml::new();
        let mut set = |key: &str, count: u64| experts.insert(key.to_owned(), number(count));
        set("count", self.row.count("experts")? as u64);
        set("top_k", self.row.count("experts_topk")? as u64);
        set("ffn_size", width);
        set("shared_ffn_size", shared * width);
        set("dense_layers", known.dense_layers[usize::from(is_cut)]);
        set("every", known.every);
        model.insert("experts".to_owned(), Value::Table(experts));
        if known.is_latent {
            let mut latent = Toml::new();
            for (key, count) in [
                ("query_rank", 1536),
                ("key_value_rank", 512),
                ("plain_dim", 128),
                ("rotary_dim", 64),
                ("value_dim", 128),
            ] {
                latent.insert(key.to_owned(), number(count));
            }
            model.insert("latent_attention".to_owned(), Value::Table(latent));
        }
        if let Some(tokens) = known.window {
            let mut window = Toml::new();
            window.insert("tokens".to_owned(), number(tokens));
            window.insert("every".to_owned(), number(2));
            model.insert("sliding_window".to_owned(), Value::Table(window));
        }
        model.insert("qk_norm".to_owned(), Value::Boolean(known.has_qk_norm));
        if known.has_bias {
            model.insert("linear_bias".to_owned(), Value::Boolean(true));
        }
        Ok(())
    }

    /// Adds the axes of experts to a plan. Where the source does not say over how many ranks an
    /// expert is cut, it is what the recipes set: 1 in Megatron Bridge, else as many as tp.
    pub(super) fn expert_axes(&self, plan: &mut Toml) -> Result<(), Fault> {
        if !self.has_experts() {
            return Ok(());
        }
        plan.insert("ep".to_owned(), number(self.plan_count("ep")?));
        let is_cut = self.row.text("etp").is_some();
        if is_cut || self.stack.starts_with("megatron-bridge") {
            plan.insert("etp".to_owned(), number(self.plan_count("etp")?));
        }
        Ok(())
    }

    /// What backward computes again. Modules that recipes of Megatron Bridge name for experts
    /// (`mla_up_proj`, `moe_act`, `layernorm`) are cheap, and none of them is the attention core
    /// that selective recomputation stands for elsewhere.
    pub(super) fn recompute(&self) -> &str {
        match self.row.text("recompute") {
            Some("selective") if self.has_experts() => "none",
            told => told.unwrap_or("none"),
        }
    }

    /// Adds what the row says of the exchange of tokens to a stack.
    pub(super) fn exchange(&self, stack: &mut Toml) {
        if let Some(dispatcher) = self.row.text("dispatcher") {
            stack.insert("dispatcher".to_owned(), text(dispatcher));
        }
        let says = |what: &str| self.row.text("other").is_some_and(|it| it.contains(what));
        if says("cutedsl_grouped") {
            stack.insert("fused_grouped_gemm".to_owned(), Value::Boolean(true));
        }
        let overlaps = says("a2a_overlap=True");
        if self.has_experts() && !overlaps {
            stack.insert("overlap_exchange_fraction".to_owned(), Value::Float(0.0));
        }
    }
}
