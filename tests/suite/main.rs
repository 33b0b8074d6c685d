//! All tests of the binary, of shipped data and of the whole path, in one test binary.

mod cli;
mod data_files;
mod engine;
mod hand_computed;
mod plans;
mod properties;
mod published;
mod scenarios;
