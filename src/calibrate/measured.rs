//! Forms that tables hold measurements of: what a row says, and how much may be learned from rows.

mod all_to_all;
mod attention;
mod collective;
mod elementwise;
mod gemm;
mod grouped_gemm;

pub(super) use collective::{CollectiveRow, is_of_training};

use super::boost::Growth;
use super::table::{Fault, Row, Table};
use crate::cost::Form;
use crate::work::DType;

/// One measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<S> {
    /// Line in its table.
    pub line: u64,
    /// The GPU, as the table calls it.
    pub gpu: String,
    /// Number format, as the table calls it.
    pub dtype: String,
    /// The model that it belongs to: one is learned for each GPU and case.
    pub case: String,
    /// Who measured it.
    pub source: String,
    /// Format of the operands, whose peak rate bounds it.
    pub operands: DType,
    /// What was run.
    pub shape: S,
    /// How long it took.
    pub time_us: f64,
}

/// A form whose times tables hold.
pub trait Measured: Form {
    /// Columns that a table of this kind has, `gpu` aside.
    const COLUMNS: &'static [&'static str];

    /// What a row says; several observations where it holds several times, none where it is of
    /// another kind.
    ///
    /// # Errors
    /// What is wrong with the row.
    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<Self::Shape>>, Fault>;

    /// Whether a table holds such rows.
    fn recognises(table: &Table) -> bool {
        Self::COLUMNS.iter().all(|column| table.has(column))
    }

    /// Arithmetic, FLOP; what a rate above the GPU's peak is told by. Zero where none is defined.
    fn flops(_: &Self::Shape) -> f64 {
        0.0
    }

    /// Least traffic to memory, bytes; what a rate far below the GPU's or above any cache's is told
    /// by, where it is given.
    fn bytes(_: &Self::Shape) -> Option<f64> {
        None
    }

    /// Whether training runs shapes of this size.
    fn is_training(_: &Self::Shape) -> bool {
        true
    }

    /// Cases whose model may answer for one that has none, nearest first.
    fn stand_ins(_case: &str) -> Vec<String> {
        Vec::new()
    }

    /// Trees that as many rows can bear.
    fn growth(rows: usize) -> Growth;

    /// What rows that belong together share: shapes that differ in it are held out apart.
    fn split_key(shape: &Self::Shape) -> u64 {
        fingerprint(&format!("{shape:?}"))
    }
}

/// FNV-1a of a text, mixed so that its low bits are as good as any (Fowler, Noll, Vo; finaliser of
/// `MurmurHash3`).
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
