//! All tests of the binary and of shipped data, in one test binary.

mod cli;
mod comparison;
mod data_files;
mod generated;
mod trace_file;
