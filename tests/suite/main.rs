//! All tests of the binary, of shipped data and of the whole path, in one test binary.

mod cli;
mod comparison;
mod data_files;
<<<<<<< HEAD
mod generated;
=======
mod engine;
mod hand_computed;
>>>>>>> tests
mod plans;
mod properties;
mod published;
mod reports;
mod scenarios;
mod trace_file;
