//! The inputs: what a scenario says, as data, and the rules that its parts must keep together.
//!
//! A [`Scenario`] has six parts. Each is a TOML file or a table, and each may be named, given
//! inline, or named and overridden. Nothing here behaves: it is data and checks.

mod check;
mod cluster;
mod fit;
mod gpu;
mod import_hf;
mod learned;
mod load;
mod model;
mod plan;
mod problem;
mod scenario;
mod schema;
mod shipped;
mod stack;
mod training;

pub use check::{check, warnings};
pub use cluster::Cluster;
pub use fit::{Fit, MeasuredFit};
pub use gpu::Gpu;
pub use import_hf::{ImportError, Imported, import_hugging_face};
pub use learned::{LearnedModel, LearnedTrees, Residuals};
pub use load::{DataSources, Kind, Override, ReadFile, load, load_gpu, load_part, load_text};
pub use model::{
    Activation, Experts, LatentAttention, LayerKind, LayerParameters, Model, Norm, Position,
    SlidingWindow,
};
pub use plan::{ContextParallel, Plan, Recompute, Schedule};
pub use problem::{Place, Problem, Problems, SourceFile};
pub use scenario::Scenario;
pub use schema::{part_schema, scenario_schema};
pub use shipped::published_runs;
pub use stack::{
    Fp8Scaling, FsdpCopies, GradientReduce, MeshAxis, ParameterExchange, PipelineBalance,
    SelectiveRecompute, ShardedGradients, Stack, WeightGradient,
};
pub use training::{Optimizer, Precision, Training};
