//! All tests of the binary, of shipped data and of the whole path, in one test binary.

mod cli;
mod comparison;
mod data_files;
mod generated;
mod plans;
mod published;
mod scenarios;
mod tidy;
mod trace_file;
