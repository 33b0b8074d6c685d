//! From numbers and timelines to text: for terminals, programs, spreadsheets and trace viewers.

pub mod perfetto;
