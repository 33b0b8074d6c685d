//! Grouped GEMM: a product of its own for each group of rows, alone or in a fused layer of
//! experts with the passes around it.
//!
//! Form and typical values come from fits of 78,000 public timings on eight GPUs
//! (aiconfigurator@095f58a: TensorRT-LLM's fused layers with CUTLASS and DeepGEMM, A100 also with
//! sglang's Triton kernels) and of the products of SimuMax@4dcaae5.

use super::expert_load::ExpertLoad;
use super::form::{FEATURES_MAX, Facts, Features, Form, Parameter};
use crate::work::{GemmLayout, Kernel};

/// A layer of experts on one rank, router to combined result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertLayer {
    /// Tokens of all ranks that share the experts.
    pub tokens: f64,
    /// Experts that a token goes to.
    pub topk: f64,
    /// Experts of all ranks.
    pub experts: f64,
    /// Experts of this rank.
    pub local_experts: f64,
    /// Width of a token.
    pub hidden: f64,
    /// Width between an expert's matrices on this rank.
    pub inter: f64,
    /// Whether a gate of the same width is multiplied in: three matrices instead of two.
    pub gated: bool,
}

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GroupedWork {
    /// One launch of products `[rows of a group, k] x [k, n]`, or of their gradients.
    Product {
        /// Columns of the result of forward.
        n: f64,
        /// Length of the inner products of forward.
        k: f64,
        /// Forward, gradient of the rows (`Nn`) or of the weights (`Nt`).
        layout: GemmLayout,
        /// Bytes of a result's element, those read to be added to included.
        result_bytes: f64,
    },
    /// A fused layer.
    Layer(ExpertLayer),
}

/// Products of groups of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupedShape {
    /// How many rows each group has.
    pub load: ExpertLoad,
    /// Products, and what is around them.
    pub work: GroupedWork,
    /// Bytes of an operand's element.
    pub operand_bytes: f64,
}

impl GroupedShape {
    /// That of a batched product of the simulator, every group as large; `None` for other kernels.
    pub fn of(kernel: &Kernel) -> Option<Self> {
        let Kernel::Gemm { m, n, k, batch, dtype, output, layout, accumulate } = *kernel else {
            return None;
        };
        if batch < 2 {
            return None;
        }
        let (m, n, k) = (m as f64, n as f64, k as f64);
        // The form speaks of rows, n and k of forward; which of them m, n and k of a kernel are
        // depends on the pass: dx[rows, k] = dy[rows, n] w[n, k]; dw[n, k] = dy^T[n, rows] x.
        let (rows, n, k) = match layout {
            GemmLayout::Tn => (m, n, k),
            GemmLayout::Nn => (m, k, n),
            GemmLayout::Nt => (k, m, n),
        };
        let result_bytes = output.bytes() * if accumulate { 2.0 } else { 1.0 };
        let batch = batch as f64;
        Some(Self {
            load: ExpertLoad::balanced(rows.max(1.0) * batch, batch),
            work: GroupedWork::Product { n: n.max(1.0), k: k.max(1.0), layout, result_bytes },
            operand_bytes: dtype.bytes(),
        })
    }

    /// Arithmetic, FLOP.
    pub fn flops(&self) -> f64 {
        let area = match self.work {
            GroupedWork::Product { n, k, .. } => n * k,
            GroupedWork::Layer(layer) => layer.hidden * (layer.first_width() + layer.inter),
        };
        2.0 * self.load.total_rows() * area
    }
}

impl ExpertLayer {
    /// Columns of the first product.
    fn first_width(&self) -> f64 {
        self.inter * if self.gated { 2.0 } else { 1.0 }
    }
}

/// The form.
#[derive(Clone, Copy, Debug)]
pub struct GroupedGemmForm;

/// Heights of tiles, and their rate over that of the highest: small ones read each weight for few
/// rows (CUTLASS and DeepGEMM choose among these; the ratios of the GEMM fits).
const TILES: [(f64, f64); 3] = [(16.0, 0.3), (64.0, 0.75), (128.0, 1.0)];

/// Columns of a tile.
const TILE_COLUMNS: f64 = 128.0;

/// Places of parameters in `values`.
mod at {
    pub(super) const LAUNCH: usize = 0;
    pub(super) const TILE: usize = 1;
    pub(super) const OVERHEAD_K: usize = 2;
    pub(super) const QUANTISATION: usize = 3;
    pub(super) const WEIGHTS: usize = 4;
    pub(super) const ROWS: usize = 5;
    pub(super) const AGAIN: usize = 6;
    pub(super) const GROUP: usize = 7;
    pub(super) const PERMUTE: usize = 8;
    pub(super) const ACTIVATE: usize = 9;
    pub(super) const COMBINE: usize = 10;
    pub(super) const ROUTE: usize = 11;
    pub(super) const ELSEWHERE: usize = 12;
    pub(super) const DGRAD: usize = 13;
    pub(super) const WGRAD: usize = 14;
}

/// What one product takes, us.
#[derive(Clone, Copy, Default)]
struct Parts {
    compute: f64,
    memory: f64,
    /// Waves of the highest tiles.
    waves: f64,
}

impl Parts {
    /// `(a^4 + b^4)^(1/4)`: arithmetic and traffic overlap well.
    fn time(&self) -> f64 {
        let (a, b) = (self.compute * self.compute, self.memory * self.memory);
        (a * a + b * b).sqrt().sqrt()
    }
}

impl Form for GroupedGemmForm {
    type Shape = GroupedShape;

    const KIND: &'static str = "grouped-gemm";
    const VERSION: u32 = 1;

    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("launch_us", 20.0, 1.0, 200.0),
        // Share of the peak that an SM reaches in the main loop of a 128-row tile.
        Parameter::new("tile_fraction", 0.7, 0.05, 1.0),
        // Prologue and epilogue of a tile, as that much more k.
        Parameter::new("overhead_k", 300.0, 1.0, 5000.0),
        // 1 where a started wave takes as long as a full one.
        Parameter::new("wave_quantisation", 0.6, 0.02, 1.0),
        Parameter::new("weight_bandwidth_fraction", 0.8, 0.1, 1.0),
        Parameter::new("row_bandwidth_fraction", 0.6, 0.05, 1.0),
        // Share of the weights that each further tile of a group reads anew once they exceed the
        // cache.
        Parameter::new("read_again_share", 0.1, 0.0005, 1.0),
        Parameter::new("group_us", 0.05, 0.0001, 5.0),
        // Passes around the products: gathering rows (and quantising them), the activation,
        // weighting and adding up.
        Parameter::new("permute_bandwidth_fraction", 0.5, 0.03, 1.0),
        Parameter::new("activation_bandwidth_fraction", 0.5, 0.02, 1.0),
        Parameter::new("combine_bandwidth_fraction", 0.5, 0.03, 1.0),
        // Traffic of routing and sorting for each token and expert.
        Parameter::new("route_bytes", 20.0, 0.1, 400.0),
        // Share of the passes that is paid for assignments of other ranks too.
        Parameter::new("elsewhere_share", 0.03, 0.001, 1.0),
        Parameter::new("dgrad_factor", 1.0, 0.7, 1.5),
        Parameter::new("wgrad_factor", 1.05, 0.7, 2.0),
    ];

    const FEATURES: &'static [&'static str] = &[
        "log_time",
        "log_tokens",
        "log_rows_a_group",
        "log_groups",
        "log_hidden",
        "log_inter",
        "log_rows",
        "pad_share",
        "wave_share_1",
        "wave_share_2",
        "log_waves_1",
        "log_waves_2",
        "share_1",
        "share_2",
        "log_balance_1",
        "log_balance_2",
        "topk",
        "log_local_experts",
        "log_ranks",
        "gated",
        "skew",
        "layout",
    ];

    fn describe(shape: &GroupedShape) -> String {
        let (rows, groups) = (shape.load.total_rows(), shape.load.active_groups());
        let rows = format!("{rows:.0} rows in {groups:.0} groups, at most {}", shape.load.rows[0]);
        match shape.work {
            GroupedWork::Product { n, k, layout, .. } => format!("{rows}, {n}x{k} {layout:?}"),
            GroupedWork::Layer(layer) => {
                let ExpertLayer { tokens, topk, experts, hidden, inter, gated, .. } = layer;
                let gate = if gated { " gated" } else { "" };
                format!("{rows}, {tokens} tokens top {topk} of {experts}, {hidden}x{inter}{gate}")
            }
        }
    }

    fn time_us(values: &[f64], facts: &Facts, shape: &GroupedShape) -> f64 {
        let groups = match shape.work {
            GroupedWork::Product { .. } => shape.load.active_groups(),
            GroupedWork::Layer(layer) => layer.local_experts,
        };
        let products = products(values, facts, shape);
        values[at::LAUNCH]
            + groups * values[at::GROUP]
            + products[0].time()
            + products[1].time()
            + passes(values, facts, shape)
    }

    fn features(values: &[f64], facts: &Facts, shape: &GroupedShape, time_us: f64) -> Features {
        let products = products(values, facts, shape);
        let load = &shape.load;
        let (rows, groups) = (load.total_rows(), load.active_groups());
        let rows_a_group = rows / groups;
        let (layer, layout) = match shape.work {
            GroupedWork::Product { n, k, layout, .. } => {
                let layer = ExpertLayer {
                    tokens: rows,
                    topk: 1.0,
                    experts: groups,
                    local_experts: groups,
                    hidden: k,
                    inter: n,
                    gated: false,
                };
                (layer, f64::from(layout as u8))
            }
            GroupedWork::Layer(layer) => (layer, 0.0),
        };
        let share = |parts: &Parts| parts.time() / time_us;
        let balance = |parts: &Parts| log(parts.compute / parts.memory.max(1e-9));
        let mut features = [0.0; FEATURES_MAX];
        let list = [
            log(time_us),
            log(layer.tokens),
            log(rows_a_group),
            log(groups),
            log(layer.hidden),
            log(layer.inter),
            log(rows),
            rows / (load.tiles(128.0) * 128.0),
            fill(products[0].waves),
            fill(products[1].waves),
            log(products[0].waves),
            log(products[1].waves),
            share(&products[0]),
            share(&products[1]),
            balance(&products[0]),
            balance(&products[1]),
            layer.topk,
            log(layer.local_experts),
            log(layer.experts / layer.local_experts),
            f64::from(u8::from(layer.gated)),
            load.most_rows() / rows_a_group,
            layout,
        ];
        for (feature, value) in features.iter_mut().zip(list) {
            *feature = value as f32;
        }
        features
    }
}

/// Logarithm to base 2, of a thousandth for nothing.
fn log(value: f64) -> f64 {
    value.max(1e-3).log2()
}

/// How full waves are on average.
fn fill(waves: f64) -> f64 {
    if waves > 0.0 { waves / waves.ceil() } else { 0.0 }
}

/// The products of a shape; the second is nothing where there is one.
fn products(values: &[f64], facts: &Facts, shape: &GroupedShape) -> [Parts; 2] {
    let bytes = shape.operand_bytes;
    let one = |n, k, result_bytes| product(values, facts, &shape.load, [n, k, bytes, result_bytes]);
    match shape.work {
        GroupedWork::Layer(layer) => {
            [one(layer.first_width(), layer.hidden, 2.0), one(layer.hidden, layer.inter, 2.0)]
        }
        GroupedWork::Product { n, k, layout, result_bytes } => {
            let mut parts = match layout {
                GemmLayout::Tn => one(n, k, result_bytes),
                GemmLayout::Nn => one(k, n, result_bytes),
                GemmLayout::Nt => {
                    weight_gradient(values, facts, &shape.load, [n, k, bytes, result_bytes])
                }
            };
            let factor = match layout {
                GemmLayout::Tn => 1.0,
                GemmLayout::Nn => values[at::DGRAD],
                GemmLayout::Nt => values[at::WGRAD],
            };
            parts.compute *= factor;
            parts.memory *= factor;
            [parts, Parts::default()]
        }
    }
}

/// Time of so many tiles of some area, each with inner products of some length, on the SMs.
fn waves_time(values: &[f64], facts: &Facts, tiles: f64, area: f64, k: f64, rate: f64) -> f64 {
    let even = tiles / facts.sm_count;
    let quantisation = values[at::QUANTISATION];
    let waves =
        if even <= 1.0 { 1.0 } else { (1.0 - quantisation) * even + quantisation * even.ceil() };
    let rate = facts.peak / facts.sm_count * values[at::TILE] * rate;
    waves * 2.0 * area * (k + values[at::OVERHEAD_K]) / rate
}

/// `[rows, k] x [k, n]` for each group; sizes are n, k, bytes of an operand and of a result.
fn product(values: &[f64], facts: &Facts, load: &ExpertLoad, sizes: [f64; 4]) -> Parts {
    let [n, k, operand_bytes, result_bytes] = sizes;
    let columns = (n / TILE_COLUMNS).ceil();
    let mut compute = f64::INFINITY;
    let mut tiles = 0.0;
    for (height, rate) in TILES {
        tiles = load.tiles(height);
        let area = height * TILE_COLUMNS;
        compute = compute.min(waves_time(values, facts, tiles * columns, area, k, rate));
    }
    let groups = load.active_groups();
    let weights = n * k * operand_bytes;
    let again =
        (tiles - groups).max(0.0) * values[at::AGAIN] * weights / (weights + facts.cache_bytes);
    let weight_time = (groups + again) * weights / (facts.bandwidth * values[at::WEIGHTS]);
    let row_bytes = load.total_rows() * (k * operand_bytes + n * result_bytes);
    let memory = weight_time + row_bytes / (facts.bandwidth * values[at::ROWS]);
    Parts { compute, memory, waves: tiles * columns / facts.sm_count }
}

/// `[n, rows] x [rows, k]` for each group: the results are as large as the weights.
fn weight_gradient(values: &[f64], facts: &Facts, load: &ExpertLoad, sizes: [f64; 4]) -> Parts {
    let [n, k, operand_bytes, result_bytes] = sizes;
    let groups = load.active_groups();
    let tiles = groups * (n / 128.0).ceil() * (k / TILE_COLUMNS).ceil();
    let inner = load.total_rows() / groups;
    let compute = waves_time(values, facts, tiles, 128.0 * TILE_COLUMNS, inner, 1.0);
    let weights = groups * n * k * result_bytes;
    let rows = load.total_rows() * (n + k) * operand_bytes;
    let memory = weights / (facts.bandwidth * values[at::WEIGHTS])
        + rows / (facts.bandwidth * values[at::ROWS]);
    Parts { compute, memory, waves: tiles / facts.sm_count }
}

/// Passes around the products of a layer: rows are gathered (and quantised where operands are
/// narrower than 16 bit), activated (and quantised), weighted and added up; tokens are routed.
fn passes(values: &[f64], facts: &Facts, shape: &GroupedShape) -> f64 {
    let GroupedWork::Layer(layer) = shape.work else { return 0.0 };
    let bytes = shape.operand_bytes;
    let rows = shape.load.total_rows();
    let elsewhere = (layer.tokens * layer.topk - rows).max(0.0);
    let touched = rows + values[at::ELSEWHERE] * elsewhere;
    let permute = rows * layer.hidden * (2.0 + bytes) / values[at::PERMUTE];
    let width = 2.0 * layer.first_width() + bytes * layer.inter;
    let activate = touched * width / values[at::ACTIVATE];
    let combine = (touched + layer.tokens) * layer.hidden * 2.0 / values[at::COMBINE];
    let route = layer.tokens * layer.experts * values[at::ROUTE];
    (permute + activate + combine + route) / facts.bandwidth
}

#[cfg(test)]
mod tests;
