//! `stepcast trace`: recorded traces.

pub(crate) mod open;
