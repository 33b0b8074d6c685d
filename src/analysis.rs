//! From a timeline to numbers; pure, and blind to who made the timeline.

mod account;
mod compare;
mod facts;
mod summary;
mod uncertainty;

pub use account::{Account, Part, account, accounts};
pub use compare::{
    Candidate, Comparison, ComparisonRow, Difference, Loss, Outcome, Predicted, compare,
};
pub use facts::{Evidence, StageMemory, StepFacts};
pub use summary::{CommunicationSummary, MemorySummary, Summary, TimeSummary, summarize};
pub use uncertainty::{SIGMAS_OF_80_PERCENT, StepErrors};
