//! All tests of the binary, of shipped data and of the whole path, in one test binary.

mod cli;
mod data_files;
mod plans;
mod published;
mod scenarios;
