//! Nsight Systems: the SQLite export of a report (`nsys export --type sqlite`).
//!
//! Tables and columns as NVIDIA documents them (Nsight Systems User Guide, "SQLite Schema
//! Reference"); they differ between versions, so each is looked for and what is not there is left
//! out. A table that is damaged half-way makes the recording partial.

mod database;
mod device;
mod host;
mod nccl;
mod payload;
mod ranges;
#[cfg(test)]
mod tests;

use database::Database;

use super::{Input, Options, TraceFormat};
use crate::trace::{Builder, Recording, TraceError};

/// Header string of SQLite databases (SQLite, "Database File Format").
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Tables of which an export has at least one, beside its strings.
const OF_EXPORTS: [&str; 4] = ["CUPTI_ACTIVITY_KIND_", "NVTX_EVENTS", "META_DATA_", "TARGET_INFO_"];

/// The format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nsight;

impl TraceFormat for Nsight {
    fn name(&self) -> &'static str {
        "an Nsight Systems export (SQLite)"
    }

    fn recognizes(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn needs_path(&self) -> bool {
        true
    }

    fn read(&self, input: Input<'_>, options: &Options<'_>) -> Result<Recording, TraceError> {
        let name = input.name;
        let refused = |what: String| TraceError { file: name.to_owned(), offset: None, what };
        let path = input.path.ok_or_else(|| {
            refused("a SQLite database is read by its path on disk, and there is none".to_owned())
        })?;
        let database = Database::open(path).map_err(&refused)?;
        check_is_export(&database).map_err(&refused)?;
        let mut builder = Builder::new(name, options.classes);
        let mut faults = Vec::new();
        let count = device::read(&database, &mut builder, &mut faults);
        host::read(&database, &mut builder, &mut faults);
        ranges::read(&database, options, &mut builder, &mut faults);
        if count == 0 {
            if let Some(fault) = faults.first() {
                return Err(refused(fault.clone()));
            }
            let tables = device::TABLES.join(", ");
            builder.partial(format!(
                "no work of a GPU (in {tables}); record with `nsys profile --trace=cuda,nvtx`"
            ));
        }
        for fault in faults {
            builder.partial(fault);
        }
        Ok(builder.finish())
    }
}

/// Whether the database is an export; says what it has if not.
fn check_is_export(database: &Database) -> Result<(), String> {
    let mut tables = database.tables();
    let is_export = database.has("StringIds")
        && tables.any(|table| OF_EXPORTS.iter().any(|start| table.starts_with(start)));
    if is_export {
        return Ok(());
    }
    let found: Vec<&str> = database.tables().take(8).collect();
    let found = match (found.len(), database.tables().count()) {
        (0, _) => "no tables".to_owned(),
        (few, all) if few < all => format!("{} and {} more", found.join(", "), all - few),
        _ => found.join(", "),
    };
    Err(format!(
        "not an export of Nsight Systems: has {found}; wants StringIds and \
         CUPTI_ACTIVITY_KIND_KERNEL, from `nsys export --type sqlite`"
    ))
}
