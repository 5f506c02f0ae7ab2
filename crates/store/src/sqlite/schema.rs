//! What the database file must look like.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use engine::Index;
use rusqlite::Connection;

use super::error::{OpenError, RowError};

/// Raised when what is stored changes its meaning.
pub(super) const FORMAT: i64 = 1;

/// Tells our files from other SQLite databases: "calc".
const APPLICATION_ID: i64 = 0x6361_6c63;

/// Every table, as SQLite keeps its text, ordered by name.
const TABLES: [(&str, &str); 4] = [
    (
        "batches",
        "CREATE TABLE batches (first INTEGER NOT NULL, last INTEGER PRIMARY KEY, term INTEGER NOT NULL, before INTEGER NOT NULL, digest INTEGER NOT NULL, value INTEGER NOT NULL, checksum INTEGER NOT NULL, frame BLOB NOT NULL) STRICT",
    ),
    (
        "producers",
        "CREATE TABLE producers (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, position INTEGER NOT NULL, code INTEGER NOT NULL, argument INTEGER, value INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
    (
        "snapshots",
        "CREATE TABLE snapshots (position INTEGER PRIMARY KEY, digest INTEGER NOT NULL, value INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
    ),
    (
        "state",
        "CREATE TABLE state (id INTEGER PRIMARY KEY, log BLOB NOT NULL, term INTEGER NOT NULL, tail_index INTEGER NOT NULL, tail_digest INTEGER NOT NULL, tail_value INTEGER NOT NULL, floor_index INTEGER NOT NULL, floor_digest INTEGER NOT NULL, floor_value INTEGER NOT NULL, producers INTEGER NOT NULL, producer_checksums INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
    ),
];

/// Makes the tables of an empty database.
pub(super) fn create(database: &Connection) -> rusqlite::Result<()> {
    for (_, statement) in TABLES {
        database.execute(statement, [])?;
    }
    database.pragma_update(None, "application_id", APPLICATION_ID)?;
    database.pragma_update(None, "user_version", FORMAT)
}

/// Whether the database has no table: a leader stopped before it made them.
pub(super) fn is_empty(database: &Connection) -> rusqlite::Result<bool> {
    database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map(|tables| tables == 0)
}

/// Checks the file's first bytes before SQLite reads them. Some wrong bytes there make SQLite ignore the write-ahead log,
/// and with it the newest events.
pub(super) fn check_header(path: &Path) -> Result<(), OpenError> {
    let files = |reason| OpenError::Files { path: path.to_owned(), reason };
    let mut header = [0; 24];
    let mut read = 0;
    let mut file = File::open(path).map_err(files)?;
    while read < header.len() {
        match file.read(&mut header[read..]).map_err(files)? {
            0 => break,
            bytes => read += bytes,
        }
    }
    // The name of the format, pages of 4 KiB, written and read with a write-ahead log, nothing reserved, and three
    // constants.
    const EXPECTED: [u8; 24] = *b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20";
    if header == EXPECTED {
        return Ok(());
    }
    let damage = crate::Corrupt { index: Index::ZERO, what: format!("the head of {} was altered", path.display()) };
    Err(OpenError::Damaged { directory: path.parent().unwrap_or(path).to_owned(), damage })
}

/// Checks format and tables.
pub(super) fn check(database: &Connection, path: &Path) -> Result<(), OpenError> {
    let directory = || path.parent().unwrap_or(path).to_owned();
    let fail = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO).into_open(directory());
    let altered = |what: &str| RowError::corrupt(Index::ZERO, what).into_open(directory());

    let number = |pragma: &str| database.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(fail);
    if number("application_id")? != APPLICATION_ID {
        return Err(altered("the database is not a calculator's log, or its head was altered"));
    }
    let found = number("user_version")?;
    if found != FORMAT {
        return Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT });
    }
    let tables = || -> rusqlite::Result<Vec<(String, String)>> {
        database
            // Without the indexes that SQLite makes by itself, which have no text.
            .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let found = tables().map_err(fail)?;
    let expected = TABLES.iter().map(|(name, text)| (*name, *text));
    if !found.iter().map(|(name, text)| (name.as_str(), text.as_str())).eq(expected) {
        return Err(altered("the tables are not those of a calculator's log"));
    }
    Ok(())
}
