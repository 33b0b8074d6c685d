//! From a timeline to numbers; pure, and blind to who made the timeline.

mod account;
mod facts;
mod summary;

pub use facts::{Evidence, StageMemory, StepFacts};
pub use summary::{CommunicationSummary, MemorySummary, Summary, TimeSummary, summarize};
