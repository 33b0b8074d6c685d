//! Measured tables: CSV text to rows whose values are asked for by name.

use csv::{ReaderBuilder, StringRecord};
use std::fmt;
use std::io::{BufRead, BufReader, Read};

/// Something wrong with a table or one of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub table: String,
    /// Line in it, from 1; 0 for the whole table.
    pub line: u64,
    /// What was found, what is allowed, what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.table, self.message),
            line => write!(formatter, "{}:{line}: {}", self.table, self.message),
        }
    }
}

impl std::error::Error for Fault {}

/// A table in memory.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of the file, for messages and provenance.
    pub name: String,
    columns: Vec<String>,
    rows: Vec<(u64, StringRecord)>,
}

impl Table {
    /// Reads CSV text with a header.
    ///
    /// # Errors
    /// When it is not CSV, has no header or no rows.
    pub fn read(name: &str, text: impl Read) -> Result<Self, Fault> {
        let mut text = BufReader::new(text);
        let start = text.fill_buf().map_err(|error| Fault {
            table: name.to_owned(),
            line: 0,
            message: format!("cannot be read: {error}"),
        })?;
        let header_end = start.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let ends_in_crlf = header_end > 0 && start[header_end - 1] == b'\r';
        let fault = |line, message| Fault { table: name.to_owned(), line, message };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
        let read = |error: csv::Error| {
            let line = error.position().map_or(0, csv::Position::line);
            fault(line, format!("not CSV text: {error}"))
        };
        let columns: Vec<String> =
            reader.headers().map_err(read)?.iter().map(|name| name.trim().to_owned()).collect();
        if columns.iter().all(String::is_empty) {
            return Err(fault(0, "is empty; wants a header and rows".to_owned()));
        }
        if let Some(twice) =
            columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name))
        {
            return Err(fault(1, format!("column {:?} is there twice", twice.1)));
        }
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(read)? {
            let line = record.position().map_or(0, csv::Position::line);
            // A record after `\r\n` is said to begin with that `\n`.
            rows.push((line + u64::from(ends_in_crlf), record.clone()));
        }
        if rows.is_empty() {
            return Err(fault(0, "has a header and no rows".to_owned()));
        }
        Ok(Self { name: name.to_owned(), columns, rows })
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether a column is there.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// Rows in their order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, record)| Row { table: self, line: *line, record })
    }

    /// A fault of the table as a whole.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { table: self.name.clone(), line: 0, message: message.into() }
    }
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The table that it is of.
    pub table: &'a Table,
    /// Line in the file.
    pub line: u64,
    record: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// A fault of this row.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { table: self.table.name.clone(), line: self.line, message: message.into() }
    }

    /// Whether the row has as many fields as the header.
    ///
    /// # Errors
    /// When it has not.
    pub fn is_whole(&self) -> Result<(), Fault> {
        let (found, wanted) = (self.record.len(), self.table.columns.len());
        if found == wanted {
            return Ok(());
        }
        Err(self.fault(format!("has {found} fields, the header {wanted}")))
    }

    /// Text of a column; `None` where the column is absent or the field empty.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        let place = self.table.columns.iter().position(|name| name == column)?;
        self.record.get(place).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Text of a column that must be there.
    ///
    /// # Errors
    /// When it is empty.
    pub fn wanted(&self, column: &str) -> Result<&'a str, Fault> {
        self.text(column).ok_or_else(|| self.fault(format!("{column} is empty")))
    }

    /// A finite number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, column: &str) -> Result<f64, Fault> {
        let text = self.wanted(column)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.fault(format!("{column} is {text:?}; must be a finite number"))),
        }
    }

    /// A whole number of at least 1.
    ///
    /// # Errors
    /// When it is none.
    pub fn count(&self, column: &str) -> Result<f64, Fault> {
        let number = self.number(column)?;
        if number >= 1.0 && number.fract() == 0.0 && number < 1e15 {
            return Ok(number);
        }
        Err(self.fault(format!("{column} is {number}; must be a whole number of at least 1")))
    }

    /// A time that is more than nothing.
    ///
    /// # Errors
    /// When it is not.
    pub fn time_us(&self, column: &str) -> Result<f64, Fault> {
        let time_us = self.number(column)?;
        if time_us > 0.0 {
            return Ok(time_us);
        }
        Err(self.fault(format!("{column} is {time_us}; must be above 0")))
    }

    /// 0 or 1, false or true.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&self, column: &str) -> Result<bool, Fault> {
        match self.wanted(column)? {
            "1" | "true" | "True" => Ok(true),
            "0" | "false" | "False" => Ok(false),
            text => Err(self.fault(format!("{column} is {text:?}; must be 0 or 1"))),
        }
    }
}
