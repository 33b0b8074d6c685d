//! Recorded traces: files of profilers to a [`Recording`], which is a timeline and what only a
//! recording knows.
//!
//! A format reads events and hands them to the [`Builder`], in any order; the builder puts them on
//! one clock, tells kernels apart by the table of [`Classes`], and connects launches with what they
//! launched.

mod builder;
mod calls;
mod classify;
mod error;
mod formats;
mod join;
mod recording;

pub use builder::{
    Announcement, Builder, CollectiveArguments, DeviceEvent, DeviceKind, HostCall, HostFrame,
    Synchronization,
};
pub use calls::call;
pub use classify::{Classes, KernelClass};
pub use error::TraceError;
pub use formats::{FORMATS, Input, Opened, Options, TraceFormat, open, sniff};
pub use join::{FileClock, Joined, join};
pub use recording::{
    Communication, Operator, Recording, Source, StreamWait, SynchronizedOn, WaitTarget,
};
