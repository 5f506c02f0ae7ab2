//! How much of the database is in use.

use rusqlite::Connection;

/// Bytes of a page.
pub(super) const BYTES: u64 = 4_096;

/// The pages of the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages {
    all: u64,
    /// Those that hold nothing. They are used again; the file does not become shorter.
    free: u64,
}

impl Pages {
    pub(super) fn count(database: &Connection) -> rusqlite::Result<Self> {
        let count = |pragma| database.prepare_cached(pragma)?.query_row([], |row| row.get::<_, i64>(0));
        let (all, free) = (count("PRAGMA page_count")?, count("PRAGMA freelist_count")?);
        Ok(Self { all: all.cast_unsigned(), free: free.cast_unsigned() })
    }

    /// Bytes of all: how long the file is once the write-ahead log was moved into it.
    pub(super) fn all(self) -> u64 {
        self.all * BYTES
    }

    /// Bytes of those that hold something. A damaged head of the file may count more free pages than there are.
    pub(super) fn used(self) -> u64 {
        self.all.saturating_sub(self.free) * BYTES
    }
}
