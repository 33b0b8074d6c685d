//! From a timeline to numbers; pure, and blind to who made the timeline.

mod account;
mod accuracy;
mod answer;
mod compare;
mod diagnosis;
mod difference;
mod facts;
mod intervals;
mod profile;
mod ranking;
mod replayed;
mod summary;
mod uncertainty;
mod validation;

pub use account::{Account, Part, account, accounts};
pub use accuracy::{Errors, quantile};
pub use answer::{
    Answer, Bottleneck, ChangeAnswer, FactorUsed, InterferenceUsed, PricedKernels, UntoldClass,
};
pub use compare::{
    Candidate, Comparison, ComparisonRow, Difference, Loss, Outcome, Predicted, compare,
};
pub use diagnosis::{Clue, Diagnosis, Hypothesis, SlowdownCause};
pub use difference::{Compared, PartDifference, StepDifference, TimelineDifference, difference};
pub use facts::{Evidence, StageMemory, StepFacts};
pub use intervals::Intervals;
pub use profile::{
    AllocationProfile, Arrival, CallTime, Cause, CollectiveProfile, HostProfile, IdleStretch,
    IdleTime, KernelTime, KindTime, KnownCollective, Occupancy, OperationTime, Profile,
    ProfileOptions, QueueProfile, QueueSeries, RankCommunication, RankProfile, StepProfile,
    StreamProfile, idle_stretches, profile,
};
pub use ranking::{Order, Pairs, Timed, regret};
pub use replayed::{Guesses, RankReplay, StepReplay};
pub use summary::{CommunicationSummary, MemorySummary, Summary, TimeSummary, summarize};
pub use uncertainty::{SIGMAS_OF_80_PERCENT, StepErrors};
pub use validation::{Family, Identity, MemoryErrors, Run, Validation};
