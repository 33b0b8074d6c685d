//! Tests of the form of passes over memory.
