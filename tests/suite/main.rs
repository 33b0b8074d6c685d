//! All tests of the binary and of shipped data, in one test binary.

mod cli;
mod data_files;
mod reports;
