//! Traces that cannot be read.

/// Why a trace cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{what}", Offset(*.offset))]
pub struct TraceError {
    /// The file.
    pub file: String,
    /// Bytes into the (unpacked) file, where that is known.
    pub offset: Option<u64>,
    /// What was found, what was expected, what to do.
    pub what: String,
}

struct Offset(Option<u64>);

impl std::fmt::Display for Offset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(offset) => write!(formatter, "at byte {offset}: "),
            None => Ok(()),
        }
    }
}
