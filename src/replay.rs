//! Replay: a recording as a program, run on the engine that predicts steps.
//!
//! Each host thread is a list of instructions: the calls of the recording in order, the time
//! between them, and what they wait for. Each piece of device work is a launch with its recorded
//! duration; when it starts is the engine's to say. A kernel starts at the latest of its known
//! causes: launched, its stream free, what its stream was told to wait for, the other members of a
//! collective there. How much later than all of these it started in the recording is its
//! **unexplained start time**: that sum, not the error of the total, tells how good a replay is.
//! Such work stays as late as it was, edited or not; [`judge`] tells also how the recording would
//! go if it were not.
//!
//! An edit changes a [`Prepared`] program or its costs, and runs it again.

mod build;
mod causes;
mod handover;
mod launches;
mod marks;
mod pace;
mod run;
mod waits;

pub use build::{HostPlace, HostWork, Prepared, prepare};
pub use causes::Lateness;
pub use run::{Replay, judge, run};
