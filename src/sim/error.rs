//! Simulations that cannot end.

use std::fmt;

use crate::units::Seconds;

/// Why a simulation did not finish.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimError {
    /// Ranks wait for each other in a circle, or for something that never comes.
    #[error("the step hangs at {at}: {}", Lines(.waiting))]
    Deadlock {
        /// When the last thing happened.
        at: Seconds,
        /// Who waits for what, one line each.
        waiting: Vec<String>,
    },
    /// The program is not one that can run.
    #[error(transparent)]
    Program(#[from] crate::program::ProgramError),
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown = self.0.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
        formatter.write_str(&shown)?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more ranks"),
        }
    }
}
