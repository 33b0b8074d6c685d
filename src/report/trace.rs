//! What recorded traces say, as tables, JSON and CSV.

mod csv;
pub mod difference;
mod json;
mod name;
mod text;

pub use self::csv::write_csv;
pub use json::write_json;
pub use name::short;
pub use text::write_text;

use crate::analysis::{Profile, RankProfile};
use crate::trace::{Recording, Source};

/// A recording and where its time went.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// Its profile.
    pub profile: Profile,
}

impl Measured<'_> {
    /// Each process with its source.
    fn ranks(&self) -> impl Iterator<Item = (&Source, &RankProfile)> {
        self.recording.sources.iter().zip(&self.profile.ranks)
    }
}

/// What a row calls a process: its rank, else its device.
fn title(source: &Source) -> String {
    match (source.rank, source.device) {
        (Some(rank), _) => format!("rank {rank}"),
        (None, Some(device)) => format!("device {device}"),
        (None, None) => "no device".to_owned(),
    }
}
