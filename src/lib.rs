//! stepcast: a simulator and world model of distributed LLM training.
//!
//! A [`spec::Scenario`] says what is asked: model, cluster, software stack, plan and batch.
//! [`simulate`] answers with a [`Prediction`]: the step in numbers and a timeline of what happened.
//!
//! ```
//! use stepcast::spec::{DataSources, load_text};
//!
//! let text = r#"
//!     model = "llama3-8b"
//!     cluster = { base = "dgx-h100-ndr", node_count = 1 }
//!     stack = "fsdp2-torchtitan-compile"
//!     plan = { dp = 8, zero = 3 }
//!     training = { sequence_length = 8192, micro_batch = 1, global_batch = 8, precision = "bf16" }
//! "#;
//! let scenario = load_text(&DataSources::shipped(), "example.toml", text, &[])?;
//! let prediction = stepcast::simulate(&scenario, stepcast::Detail::Folded)?;
//! assert!(prediction.summary.memory.fits);
//! assert!(prediction.summary.mfu > 0.3 && prediction.summary.mfu < 0.8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules stand on floors, from [`units`] up to [`report`] and [`sim`]; each knows only those
//! below it. The library reads no files, asks no clock and prints nothing: whoever calls it does,
//! and equal inputs give equal bytes. `ARCHITECTURE.md` maps the tree, `DESIGN.md` says why.

pub mod analysis;
pub mod calibrate;
pub mod cost;
pub mod des;
pub mod explore;
pub mod graph;
pub mod plan;
mod predict;
pub mod program;
pub mod replay;
pub mod report;
pub mod sim;
pub mod spec;
pub mod timeline;
pub mod topology;
pub mod trace;
pub mod units;
pub mod validate;
pub mod work;

pub use predict::{Detail, Prediction, SimulateError, simulate};
