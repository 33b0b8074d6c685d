//! The event kernel: an agenda of events, and rates that activities share. Knows only units.

mod agenda;
mod share;
mod share_slow;

pub use agenda::{Agenda, Ticket};
pub use share::{Activity, solve};
pub use share_slow::solve_slow;
