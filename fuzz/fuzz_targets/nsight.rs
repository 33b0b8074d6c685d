//! No database makes the reader of Nsight Systems exports panic, hang or grow without bound.
//!
//! An input is any bytes as the file; or bytes of a sound export that are changed and cut; or tables
//! whose columns, types and values are anything, with names that exports have.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::path::Path;
use std::sync::LazyLock;
use stepcast::trace::{Classes, Options, open};

mod whole;

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::shipped);
/// A sound export.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = scratch();
    let connection = Connection::open(&path).expect("a new database");
    connection.execute_batch(include_str!("nsight.sql")).expect("sound statements");
    drop(connection);
    std::fs::read(path).expect("the database")
});

/// Tables of exports, and columns that any of them may have.
const TABLES: [&str; 16] = [
    "StringIds",
    "CUPTI_ACTIVITY_KIND_KERNEL",
    "CUPTI_ACTIVITY_KIND_MEMCPY",
    "CUPTI_ACTIVITY_KIND_MEMSET",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
    "CUPTI_ACTIVITY_KIND_RUNTIME",
    "CUPTI_ACTIVITY_KIND_DRIVER",
    "CUPTI_ACTIVITY_KIND_CUDA_EVENT",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION",
    "CUDA_GPU_MEMORY_USAGE_EVENTS",
    "NVTX_EVENTS",
    "ThreadNames",
    "TARGET_INFO_GPU",
    "TARGET_INFO_CUDA_DEVICE",
    "META_DATA_CAPTURE",
    "strange \" name",
];
const COLUMNS: [&str; 32] = [
    "id", "value", "name", "start", "end", "deviceId", "contextId", "streamId", "correlationId",
    "globalPid", "demangledName", "shortName", "mangledName", "gridX", "gridY", "gridZ", "bytes",
    "copyKind", "srcKind", "dstKind", "graphId", "globalTid", "nameId", "eventType", "text",
    "textId", "endGlobalTid", "syncType", "eventSyncId", "gpuId", "cudaId", "pid",
];

#[derive(Arbitrary, Debug)]
enum Input {
    Bytes(Vec<u8>),
    Changed { cut: Option<u16>, changes: Vec<(u16, u8)> },
    Tables(Vec<Table>),
}

#[derive(Arbitrary, Debug)]
struct Table {
    name: u8,
    /// All columns that are needed, or only these.
    columns: Vec<u8>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Arbitrary, Debug)]
enum Cell {
    Null,
    /// Small numbers meet each other across tables.
    Small(u8),
    Number(i64),
    Real(f64),
    Text(String),
    Step(u8),
    Bytes(Vec<u8>),
}

impl Cell {
    fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Small(number) => Value::Integer(number.into()),
            Self::Number(number) => Value::Integer(number),
            Self::Real(number) => Value::Real(number),
            Self::Text(text) => Value::Text(text),
            Self::Step(number) => Value::Text(format!("ProfilerStep#{number}")),
            Self::Bytes(bytes) => Value::Blob(bytes),
        }
    }
}

/// A file of this process, in memory where there is such a folder.
fn scratch() -> std::path::PathBuf {
    let folder = Path::new("/dev/shm");
    let folder = if folder.is_dir() { folder.to_owned() } else { std::env::temp_dir() };
    let path = folder.join(format!("stepcast-fuzz-{}.sqlite", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn make(path: &Path, tables: Vec<Table>) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let whole = connection.transaction()?;
    for table in tables.into_iter().take(8) {
        let name = TABLES[usize::from(table.name) % TABLES.len()].replace('"', "\"\"");
        let mut columns: Vec<&str> = match table.columns.is_empty() {
            true => COLUMNS.to_vec(),
            false => table.columns.iter().map(|it| COLUMNS[usize::from(*it) % 32]).collect(),
        };
        columns.sort_unstable();
        columns.dedup();
        let list: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
        // A table that is there already keeps its columns.
        if whole.execute(&format!("CREATE TABLE \"{name}\" ({})", list.join(", ")), []).is_err() {
            continue;
        }
        let places = vec!["?"; columns.len()].join(", ");
        let mut insert = whole.prepare(&format!("INSERT INTO \"{name}\" VALUES ({places})"))?;
        for row in table.rows.into_iter().take(32) {
            let values = row.into_iter().map(Cell::value);
            let values = values.chain(std::iter::repeat(Value::Null)).take(columns.len());
            insert.execute(rusqlite::params_from_iter(values))?;
        }
    }
    whole.commit()
}

fuzz_target!(|given: (bool, bool, Input)| {
    let (frames, shapes, input) = given;
    let path = scratch();
    match input {
        Input::Bytes(bytes) => std::fs::write(&path, bytes).expect("room for a file"),
        Input::Changed { cut, changes } => {
            let mut bytes = SOUND.clone();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[usize::from(at) % length] = byte;
            }
            bytes.truncate(cut.map_or(usize::MAX, usize::from));
            std::fs::write(&path, bytes).expect("room for a file");
        }
        Input::Tables(tables) => make(&path, tables).expect("sound statements"),
    }
    let options = Options { classes: &CLASSES, frames, shapes };
    let bytes = std::fs::read(&path).unwrap_or_default();
    let opened = open("fuzz", bytes.as_slice());
    match opened.and_then(|opened| opened.read(Some(&path), &options)) {
        Ok(recording) => whole::check(&recording),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = std::fs::remove_file(&path);
});
