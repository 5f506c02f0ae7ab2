//! A log in a directory: an SQLite database with a write-ahead log.
//!
//! | file | what |
//! |---|---|
//! | `log.sqlite`, `log.sqlite-wal`, `log.sqlite-shm` | the database: a row for each batch, snapshots, producers, and one row that summarizes them |
//! | `watermark` | where the log ended when somebody was last told so; version 0.1.0 called it `acknowledged` |
//! | `leader.lock` | locked while a leader writes |
//!
//! A process must not open and close these files by other means while it has the log open: that gives up SQLite's locks
//! (see [`SqliteReader`]).
//!
//! One thread writes, one commit at a time. Readers have their own connection and see the last commit. Neither waits for
//! the other, except that readers are held up for some milliseconds when the write-ahead log has become long.

mod copy;
mod damage;
mod error;
mod extent;
mod files;
mod forced;
mod held;
mod open_log;
mod pages;
mod pool;
mod reader;
mod restore;
mod retention;
mod rows;
mod schema;
mod unwritable;
mod watcher;
mod watermark;
mod write_connection;
mod write_thread;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

pub use copy::CopyError;
use engine::{Durability, LogId};
pub use error::{Cause, OpenError, Problem};
pub use reader::SqliteReader;
pub use restore::{RestoreError, Restoring};
pub use rows::StoredRow;
use rusqlite::Connection;

use crate::{Opened, Store};

/// How long somebody else, such as a backup program, may lock the database before a commit fails.
const BUSY: Duration = Duration::from_secs(2);

/// Where a log in a directory is, and how it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory. Made if it does not exist.
    pub directory: PathBuf,
    /// What a commit survives; `Memory` and `Unknown` count as `Os`.
    pub durability: Durability,
    /// Events from one snapshot to the next: about this many are replayed at most when the log is opened. `retain_bytes` can
    /// demand a snapshot sooner.
    pub snapshot_every: NonZeroU64,
    /// Events to keep at least, as far as `retain_bytes` allows. Older ones are deleted once a snapshot lies after them.
    pub retain: NonZeroU64,
    /// Bytes that the database may use. If it uses more, the oldest history is deleted, in steps of about an eighth. What
    /// is written while a step is deleted comes on top, and so does the write-ahead log. The newest batch always stays.
    pub retain_bytes: Option<NonZeroU64>,
}

/// A log in a directory. One process at a time has it open for writing: a lock file keeps others out.
///
/// ```
/// use std::num::NonZeroU64;
///
/// use engine::{Durability, LogId};
/// use store::Store;
/// use store::sqlite::{OpenError, Options, SqliteReader, SqliteStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().to_owned();
/// let events = |count| NonZeroU64::new(count).unwrap();
/// let options = Options {
///     directory: directory.clone(),
///     durability: Durability::Fsync,
///     snapshot_every: events(10_000),
///     retain: events(1_000_000),
///     retain_bytes: None,
/// };
/// let place = SqliteStore::new(options, LogId(0xcafe));
/// let opened = place.open().await?;
/// assert_eq!((opened.tail.log(), opened.term.0), (LogId(0xcafe), 1));
///
/// // The log is open until its writer and its readers are gone. Others can read it.
/// assert!(matches!(place.open().await, Err(OpenError::InUse { .. })));
/// assert_eq!(SqliteReader::open(&directory)?.log(), LogId(0xcafe));
/// drop(opened);
/// assert_eq!(place.open().await?.term.0, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    options: Options,
    new_log: LogId,
}

impl SqliteStore {
    /// The log in the directory of `options`. If there is none, opening makes one named `new_log`.
    #[must_use]
    pub fn new(options: Options, new_log: LogId) -> Self {
        Self { options, new_log }
    }

    /// Opens the log like [`open`](Store::open), on the calling thread, which waits for the disk.
    ///
    /// # Errors
    ///
    /// As [`open`](Store::open).
    pub fn open_blocking(&self) -> Result<Opened, OpenError> {
        open_log::open(self.options.clone(), self.new_log)
    }
}

impl Store for SqliteStore {
    type Error = OpenError;

    async fn open(&self) -> Result<Opened, OpenError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.open_blocking()).await {
            Ok(opened) => opened,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// What every connection needs.
fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.busy_timeout(BUSY)?;
    // A damaged page must not pass for a sound one.
    database.pragma_update(None, "cell_size_check", true)?;
    database.pragma_update(None, "trusted_schema", false)
}
