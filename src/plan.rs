//! How a step is cut over ranks: the mesh, the stages, the shards and the schedule.
//!
//! Speaks of sizes and orders, never of seconds.

mod error;
mod experts;
mod layout;
mod mesh;
pub mod schedule;
mod shard;
mod stage;
mod state;

pub use error::PlanError;
pub use experts::{ExpertShard, GroupedShape};
pub use layout::Layout;
pub use mesh::{Coordinates, ExpertMesh, GroupKind, Mesh};
pub use shard::{CpExchange, Shard};
pub use stage::{Stages, stage_layers, stages};
pub use state::{Held, StageState, stage_states};
