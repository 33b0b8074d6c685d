//! Measured training runs against predictions: rows of a table and published cases become
//! scenarios, are simulated, and their errors are told by family.

mod entry;
mod fit;
mod row;
mod run;
mod scenario;
mod stand_in;

pub use entry::{Entry, Measured, MemoryKind};
pub use fit::{Fitted, KNOBS, Knob, Part, RunFit, fit_runs};
pub use row::{Assignment, read_runs};
pub use run::validate;
