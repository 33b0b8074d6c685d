//! The event kernel: an agenda of events by time, and fair shares of rates. Knows no LLM.

mod agenda;
mod share;

pub use agenda::{Agenda, Ticket};
pub use share::{Activity, solve};
