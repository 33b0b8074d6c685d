//! A database of a stranger, read only: its tables, rows of the columns that exist, its strings.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// An open export.
pub(super) struct Database {
    connection: Connection,
    /// Columns by table, in any case, as SQL takes names.
    columns: BTreeMap<String, Vec<String>>,
    strings: RefCell<FxHashMap<i64, Option<Rc<str>>>>,
}

/// A row; a column that the table lacks is empty.
pub(super) struct Row<'a, 'b> {
    row: &'a rusqlite::Row<'b>,
}

impl Row<'_, '_> {
    /// A whole number; `None` where there is none.
    pub(super) fn int(&self, column: usize) -> Option<i64> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Integer(number)) => Some(number),
            _ => None,
        }
    }

    /// A number that is not negative.
    pub(super) fn count(&self, column: usize) -> Option<u64> {
        u64::try_from(self.int(column)?).ok()
    }

    /// Bytes; `None` where there are none.
    pub(super) fn bytes(&self, column: usize) -> Option<&[u8]> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Blob(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Text; `None` where there is none, or where it is no UTF-8.
    pub(super) fn text(&self, column: usize) -> Option<&str> {
        match self.row.get_ref(column) {
            Ok(ValueRef::Text(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }
}

impl Database {
    /// Opens a file without writing anything beside it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let mut uri = String::from("file:");
        // What has a meaning in a URI is escaped; `immutable` keeps journals and locks away.
        for letter in path.to_string_lossy().chars() {
            match letter {
                '%' | '?' | '#' => uri.push_str(&format!("%{:02x}", u32::from(letter))),
                _ => uri.push(letter),
            }
        }
        uri.push_str("?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let broken = |error: rusqlite::Error| format!("a SQLite database that is broken: {error}");
        let connection = Connection::open_with_flags(uri, flags).map_err(broken)?;
        let columns = columns(&connection).map_err(broken)?;
        Ok(Self { connection, columns, strings: RefCell::default() })
    }

    /// Names of tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// Whether there is such a table.
    pub(super) fn has(&self, table: &str) -> bool {
        self.columns.contains_key(table)
    }

    /// Visits the rows of a table, and gives how many it visited; none where the table is not
    /// there. `needed` columns come first, then `wished` ones, which are empty where the table
    /// lacks them. The error says what a table lacks, or after how many rows it broke.
    pub(super) fn rows(
        &self,
        table: &str,
        needed: &[&str],
        wished: &[&str],
        mut visit: impl FnMut(&Row<'_, '_>),
    ) -> Result<u64, String> {
        let Some(columns) = self.columns.get(table) else { return Ok(0) };
        let has = |name: &&str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        let missing: Vec<&str> = needed.iter().copied().filter(|name| !has(name)).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!(
                "table {table} lacks {missing}; it has {}; export it with a newer `nsys`",
                columns.join(", ")
            ));
        }
        let chosen: Vec<String> = needed
            .iter()
            .chain(wished)
            .map(|name| if has(name) { format!("\"{name}\"") } else { "NULL".to_owned() })
            .collect();
        let mut count = 0;
        let mut read = || -> rusqlite::Result<()> {
            let query = format!("SELECT {} FROM \"{table}\"", chosen.join(", "));
            let mut statement = self.connection.prepare(&query)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(&Row { row });
                count += 1;
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok(count),
            Err(error) => Err(format!("table {table} is broken after {count} rows: {error}")),
        }
    }

    /// A string of the export by its number.
    pub(super) fn string(&self, id: i64) -> Option<Rc<str>> {
        if let Some(known) = self.strings.borrow().get(&id) {
            return known.clone();
        }
        let find = || -> rusqlite::Result<String> {
            let mut statement =
                self.connection.prepare_cached("SELECT value FROM StringIds WHERE id = ?1")?;
            statement.query_row([id], |row| row.get(0))
        };
        let found: Option<Rc<str>> = find().ok().map(Into::into);
        self.strings.borrow_mut().insert(id, found.clone());
        found
    }

    /// The first of these numbers that is a string.
    pub(super) fn first_string(&self, ids: &[Option<i64>]) -> Option<Rc<str>> {
        ids.iter().flatten().find_map(|&id| self.string(id))
    }
}

/// Columns of all tables. Views are queries of a stranger: they are not read.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let mut tables = connection.prepare(
        "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid",
    )?;
    let mut rows = tables.query([])?;
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        columns.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(columns)
}
