//! The integration tests, one binary.

mod data_files;
