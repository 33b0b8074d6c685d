//! The engine: runs a program and says what happened when.
//!
//! Sees instructions only: no transformer, no plan. Each rank has a host thread that launches in
//! order and streams that run in order; work starts at the latest of launched, stream free, events
//! recorded, group complete. Rates are solved again when what runs side by side changes.

mod block;
mod communication;
mod costs;
mod error;
mod host;
mod links;
mod memory;
mod record;
mod run;
mod state;
mod stream;

pub use block::block_costs;
pub use costs::{BlockCost, Costs, HostCosts, Ports, WorkCost};
pub use error::SimError;
pub use memory::MemoryPeak;
pub use record::Origin;
pub use run::{Machine, Outcome, Record, run};
