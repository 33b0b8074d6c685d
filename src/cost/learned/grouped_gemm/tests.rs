//! Tests of the form of grouped products.
