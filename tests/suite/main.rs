//! All tests of the binary, of shipped data and of the whole path, in one test binary.

mod calibrate_passes;
mod calibrated_collectives;
mod calibration;
mod cli;
mod comparison;
mod data_files;
mod engine;
mod experts;
mod fsdp;
mod generated;
mod hand_computed;
mod measured_attention;
mod measured_gemm;
mod measured_runs;
mod measured_tables;
mod narrow;
mod plans;
mod properties;
mod published;
mod reports;
mod results;
mod rows;
mod scenarios;
mod tidy;
mod trace_file;
mod validation;
