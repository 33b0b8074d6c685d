//! Measured training runs against predictions: rows of a table and published cases become
//! scenarios, are simulated, and their errors are told by family.

mod case;
mod entry;
mod experts;
mod fit;
mod row;
mod run;
mod scenario;
mod stand_in;

pub use case::{CaseFile, Limits};
pub use entry::{Entry, Measured, MemoryKind};
pub use fit::{Fitted, KNOBS, Knob, Part, RunFit, fit_runs, is_held_out};
pub use row::{Assignment, read_runs};
pub use run::validate;
