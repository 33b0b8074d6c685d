//! A row of a table of runs as a scenario.

use toml::{Table as Toml, Value};

use crate::calibrate::{Fault, Row};
use crate::spec::{PipelineBalance, Stack};

/// Width of a head that large models have.
const HEAD_WIDTH: u64 = 128;

/// Heads of GPT-3 175B (Brown et al. 2020, table 2.1), which models as wide or wider took over: the
/// first of those that became BLOOM have 96 heads of 150
/// (bigscience-workshop/bigscience@9e64ede train/tr11-176B-ml/chronicles-prequel.md).
const WIDEST_HEADS: u64 = 96;

/// GPUs of a rack of 72 that jobs of whole powers of two use.
const RACK_OF_POWERS: u64 = 64;

/// A row, and the files of its hardware and software.
pub(super) struct Described<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) gpu: &'a str,
    pub(super) stack: &'a str,
    pub(super) habits: Habits,
    pub(super) cluster: &'a str,
    /// The fit of the cluster, where there is one.
    pub(super) fit: Option<&'a str>,
}

/// What a stack does whatever a row says.
#[derive(Clone, Copy, Default)]
pub(super) struct Habits {
    /// Spreads layers over stages itself.
    balances_stages: bool,
    /// Knows one format of gradients.
    fixes_gradients: bool,
}

impl Habits {
    pub(super) fn of(stack: &Stack) -> Self {
        Self {
            balances_stages: stack.pipeline_balance != PipelineBalance::Layers,
            fixes_gradients: stack.fixed_gradient_dtype,
        }
    }
}

impl Described<'_> {
    /// The text of the scenario; what had to be assumed is added to `assumed`.
    pub(super) fn to_toml(&self, assumed: &mut Vec<String>) -> Result<String, Fault> {
        let mut scenario = Toml::new();
        let mut set = |key: &str, value: Value| scenario.insert(key.to_owned(), value);
        set("model", Value::Table(self.model(assumed)?));
        set("cluster", Value::Table(self.cluster(assumed)?));
        set("stack", Value::Table(self.stack()?));
        set("plan", Value::Table(self.plan(assumed)?));
        set("training", Value::Table(self.training(assumed)?));
        if let Some(fit) = self.fit {
            set("fit", text(fit));
        }
        toml::to_string(&scenario).map_err(|error| self.row.fault(error.to_string()))
    }

    fn model(&self, assumed: &mut Vec<String>) -> Result<Toml, Fault> {
        let row = self.row;
        let mut model = Toml::new();
        let mut set = |key: &str, value: Value| model.insert(key.to_owned(), value);
        let name = row.text("model").unwrap_or("unnamed");
        set("name", text(name));
        set("layer_count", self.count("layers")?);
        set("hidden_size", self.count("hidden")?);
        set("ffn_size", self.count("ffn")?);
        set("head_count", number(self.heads(assumed)?));
        for (column, key) in [("kv_heads", "kv_head_count"), ("head_dim", "head_dim")] {
            if row.text(column).is_some() {
                set(key, self.count(column)?);
            }
        }
        set("vocabulary_size", number(self.padded_vocabulary()?));
        let is_tied = self.flag("tied_embeddings")?.unwrap_or(false);
        set("tied_embeddings", Value::Boolean(is_tied));
        let is_gated = match row.wanted("mlp")? {
            "swiglu" => true,
            "gelu" => false,
            other => return Err(row.fault(format!("mlp is `{other}`, not `gelu` or `swiglu`"))),
        };
        // The tables count the matrices of the MLP; what goes with two of them is the model's. All
        // dense Nemotron have two and squared ReLU (NemotronConfig of NeMo), whatever tables say.
        let is_nemotron = name.to_lowercase().contains("nemotron") && !name.contains("lama");
        let is_alibi = row.text("other").is_some_and(|other| other.contains("ALiBi"));
        let (activation, norm, position) = match (is_gated, is_nemotron, is_alibi) {
            (_, true, _) => ("squared_relu", "layernorm", "rotary"),
            (true, ..) => ("swiglu", "rmsnorm", "rotary"),
            (false, false, true) => ("gelu", "layernorm", "alibi"),
            (false, false, false) => ("gelu", "layernorm", "learned"),
        };
        set("activation", text(activation));
        set("norm", text(norm));
        set("norm_bias", Value::Boolean(norm == "layernorm"));
        set("linear_bias", Value::Boolean(activation == "gelu"));
        set("position", text(position));
        if position == "learned" {
            set("position_count", self.count("seq_len")?);
        }
        set("embedding_norm", Value::Boolean(is_alibi));
        self.experts(&mut model)?;
        Ok(model)
    }

    /// Query heads; where the source does not say, as many as make them nearest to 128 wide.
    fn heads(&self, assumed: &mut Vec<String>) -> Result<u64, Fault> {
        if self.row.text("heads").is_some() {
            return self.row.count("heads").map(|count| count as u64);
        }
        let (hidden, ranks) = (self.row.count("hidden")? as u64, self.plan_count("tp")?);
        let is_wide = hidden >= WIDEST_HEADS * HEAD_WIDTH && hidden.is_multiple_of(WIDEST_HEADS);
        if is_wide && WIDEST_HEADS.is_multiple_of(ranks) {
            assumed.push(format!("{WIDEST_HEADS} heads, as GPT-3 175B, where none are told"));
            return Ok(WIDEST_HEADS);
        }
        let heads = (1..=hidden)
            .filter(|heads| hidden.is_multiple_of(*heads) && heads.is_multiple_of(ranks))
            .min_by_key(|heads| (hidden / heads).abs_diff(HEAD_WIDTH));
        let heads = heads.ok_or_else(|| {
            self.row.fault(format!("heads is empty, and tp {ranks} does not divide {hidden}"))
        })?;
        assumed.push(format!("heads as near {HEAD_WIDTH} wide as can be, where none are told"));
        Ok(heads)
    }

    /// The vocabulary as stacks pad it, so that each tensor-parallel rank has a multiple of 128
    /// rows (Megatron-LM `--make-vocab-size-divisible-by 128`).
    fn padded_vocabulary(&self) -> Result<u64, Fault> {
        let vocabulary = self.row.count("vocab")? as u64;
        let multiple = 128 * self.plan_count("tp")?;
        Ok(vocabulary.div_ceil(multiple) * multiple)
    }

    fn cluster(&self, assumed: &mut Vec<String>) -> Result<Toml, Fault> {
        let row = self.row;
        let gpus = row.count("gpus")? as u64;
        let mut cluster = Toml::new();
        let mut set = |key: &str, value: Value| cluster.insert(key.to_owned(), value);
        set("base", text(self.cluster));
        set("gpu", text(self.gpu));
        let gpus_per_node = match row.text("gpus_per_node") {
            Some(_) => row.count("gpus_per_node")? as u64,
            None => gpus.min(8),
        };
        set("gpus_per_node", number(gpus_per_node));
        set("node_count", number(gpus.div_ceil(gpus_per_node)));
        // Slurm places jobs of whole powers of two on 16 of a rack's 18 trays, so that groups of
        // such sizes stay within racks.
        if self.cluster.ends_with("nvl72")
            && gpus > RACK_OF_POWERS
            && gpus.is_multiple_of(RACK_OF_POWERS)
        {
            set("scale_up_domain_size", number(RACK_OF_POWERS));
            assumed.push(format!("{RACK_OF_POWERS} GPUs of each rack of 72 are used"));
        }
        Ok(cluster)
    }

    fn stack(&self) -> Result<Toml, Fault> {
        let row = self.row;
        let mut stack = Toml::new();
        let mut set = |key: &str, value: Value| stack.insert(key.to_owned(), value);
        set("base", text(self.stack));
        if let Some(attention) = row.text("attention") {
            set("attention", text(attention));
        }
        if let Some(format) = row.text("grad_dtype").filter(|_| !self.habits.fixes_gradients) {
            set("gradient_dtype", text(format));
            set("gradient_reduce_dtype", text(format));
        }
        if let Some(overlaps) = self.flag("dp_overlap")? {
            set("overlap_gradient_reduce", Value::Boolean(overlaps));
            set("overlap_parameter_gather", Value::Boolean(overlaps));
        }
        // How much overlaps where it does is the stack's.
        if self.flag("tp_overlap")? == Some(false) {
            set("overlap_tp_fraction", Value::Float(0.0));
        }
        for key in ["compile", "cuda_graph"] {
            if let Some(value) = self.flag(key)? {
                set(key, Value::Boolean(value));
            }
        }
        self.exchange(&mut stack);
        Ok(stack)
    }

    fn plan(&self, assumed: &mut Vec<String>) -> Result<Toml, Fault> {
        let row = self.row;
        let mut plan = Toml::new();
        let mut set = |key: &str, value: Value| plan.insert(key.to_owned(), value);
        for axis in ["tp", "pp", "cp", "dp"] {
            set(axis, number(self.plan_count(axis)?));
        }
        if let Some(kind) = row.text("cp_kind") {
            set("cp_kind", text(kind));
        }
        let chunks = self.chunks()?;
        if chunks != self.plan_count("vp")? && !self.has_experts() {
            assumed.push(format!("{chunks} chunks a stage, as recipes of the stack interleave"));
        }
        set("virtual_stages", number(chunks));
        set("schedule", text(if chunks > 1 { "interleaved" } else { "1f1b" }));
        match self.spread(chunks)? {
            Spread::Even => {}
            Spread::CountingEnds => {
                set("count_embedding_and_head", Value::Boolean(true));
            }
            Spread::Uneven(layers) => {
                set("stage_layers", Value::Array(layers.into_iter().map(number).collect()));
            }
        }
        let zero = match row.text("zero") {
            None => 0,
            Some(text) => match text.parse::<u64>() {
                Ok(zero) if zero <= 3 => zero,
                _ => return Err(row.fault(format!("zero is `{text}`, not 0 to 3"))),
            },
        };
        set("zero", number(zero));
        if row.text("shard_group").is_some() {
            set("shard_group", self.count("shard_group")?);
        }
        // Gathers and scatters pipeline with products, all-reduces do not: Megatron-core has
        // --tp-comm-overlap under sequence parallelism only. It refuses experts without it.
        let pipelines = self.flag("tp_overlap")? == Some(true) || self.has_experts();
        let is_told = self.flag("sequence_parallel")?.unwrap_or(false);
        if pipelines && !is_told && self.plan_count("tp")? > 1 {
            assumed.push("sequence parallelism, where experts or tp overlap need it".to_owned());
        }
        let is_cut = pipelines || is_told;
        set("sequence_parallel", Value::Boolean(is_cut && self.plan_count("tp")? > 1));
        set("recompute", text(self.recompute()));
        self.expert_axes(&mut plan)?;
        Ok(plan)
    }

    /// Chunks of a stage. All dense recipes of NeMo that pipeline also interleave
    /// (`model_configs_*.csv` of NVIDIA/NeMo@000e8c1), so that one chunk there is a source that
    /// does not say; the finest is assumed, as for the deepest of those recipes.
    fn chunks(&self) -> Result<u64, Fault> {
        let (stages, chunks) = (self.plan_count("pp")?, self.plan_count("vp")?);
        let layers = self.row.count("layers")? as u64;
        if stages == 1 {
            // There is nothing to interleave on one stage.
            return Ok(1);
        }
        let interleaves = self.stack.starts_with("nemo-") && !self.has_experts();
        let is_silent = stages > 1 && chunks == 1 && layers.is_multiple_of(stages);
        Ok(if interleaves && is_silent { layers / stages } else { chunks })
    }

    /// How layers lie on chunks. Where they are not even, embedding and head each count as a layer
    /// if that makes it even (Megatron-LM `--account-for-embedding-in-pipeline-split`); else the
    /// first and the last chunk, which carry them, get the fewer ones.
    fn spread(&self, chunks: u64) -> Result<Spread, Fault> {
        if self.habits.balances_stages {
            return Ok(Spread::Even);
        }
        let layers = self.row.count("layers")? as u64;
        let chunks = self.plan_count("pp")? * chunks;
        if layers.is_multiple_of(chunks) {
            return Ok(Spread::Even);
        }
        if (layers + 2).is_multiple_of(chunks) {
            return Ok(Spread::CountingEnds);
        }
        let (few, more) = (layers / chunks, layers % chunks);
        let first = 1 + (chunks - 1 - more) / 2;
        let has_more = |chunk: u64| chunk >= first && chunk < first + more;
        Ok(Spread::Uneven((0..chunks).map(|chunk| few + u64::from(has_more(chunk))).collect()))
    }

    fn training(&self, assumed: &mut Vec<String>) -> Result<Toml, Fault> {
        let row = self.row;
        let mut training = Toml::new();
        let mut set = |key: &str, value: Value| training.insert(key.to_owned(), value);
        set("sequence_length", self.count("seq_len")?);
        set("micro_batch", number(self.plan_count("micro_batch")?));
        set("global_batch", self.count("global_batch")?);
        set("precision", text(&row.wanted("precision")?.replace('-', "_")));
        // NeMo's GPT-3 recipes of 2024 keep the 0.1 of Megatron-core's TransformerConfig and of
        // gpt3/175b.yaml; those of 2025 set 0.
        let is_gpt = row.text("mlp") == Some("gelu");
        let is_nemotron = row.text("model").is_some_and(|it| it.contains("Nemotron"));
        if self.stack == "nemo-2024" && is_gpt && !is_nemotron {
            set("dropout", Value::Boolean(true));
            assumed.push("dropout runs, as in recipes of the stack".to_owned());
        }
        Ok(training)
    }

    fn count(&self, column: &str) -> Result<Value, Fault> {
        self.row.count(column).map(|count| number(count as u64))
    }

    /// A count of the plan; blank is 1.
    pub(super) fn plan_count(&self, column: &str) -> Result<u64, Fault> {
        match self.row.text(column) {
            None => Ok(1),
            Some(_) => self.row.count(column).map(|count| count as u64),
        }
    }

    /// A yes or no; blank where the source does not say.
    fn flag(&self, column: &str) -> Result<Option<bool>, Fault> {
        match self.row.text(column) {
            None => Ok(None),
            Some("yes") => Ok(Some(true)),
            Some("no") => Ok(Some(false)),
            Some(other) => Err(self.row.fault(format!("{column} is `{other}`, not `yes` or `no`"))),
        }
    }
}

/// How layers lie on chunks.
enum Spread {
    Even,
    CountingEnds,
    Uneven(Vec<u64>),
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

pub(super) fn number(count: u64) -> Value {
    // Counts of tables end at 1e15.
    Value::Integer(count as i64)
}
