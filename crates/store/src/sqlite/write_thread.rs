//! The thread that writes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::damage::Known;
use super::files::Lock;
use super::held::{Held, Look};
use super::write_connection::WriteConnection;
use crate::{AppendError, Commit, LogSize, LostSender};

/// What the thread does next.
#[derive(Debug)]
pub(super) enum Order {
    Append {
        commit: Commit,
        done: oneshot::Sender<Result<Appended, AppendError>>,
    },
    Probe {
        done: oneshot::Sender<Result<(), AppendError>>,
    },
    TruncateWal {
        /// While it is held, none of our connections reads.
        no_reads: OwnedSemaphorePermit,
    },
}

/// A commit that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appended {
    /// Whether the write-ahead log should be truncated.
    pub(super) is_wal_long: bool,
}

pub(super) struct WriteThread {
    pub(super) connection: WriteConnection,
    pub(super) damage: Arc<Known>,
    pub(super) held: Arc<Held>,
    pub(super) lost: LostSender,
    pub(super) floor: Arc<AtomicU64>,
    /// Whoever asks gets what the writer saw last, so that asking costs nothing and never waits for the disk.
    pub(super) size: Arc<Mutex<LogSize>>,
    pub(super) is_truncating: Arc<AtomicBool>,
    /// The last field, so that the database is closed before another leader can open it.
    pub(super) _lock: Lock,
}

impl WriteThread {
    /// Carries orders out until the queue is closed; then closes the database.
    pub(super) fn start(self, queue: mpsc::Receiver<Order>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || self.run(queue))
    }

    fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        while let Some(order) = queue.blocking_recv() {
            match order {
                // Whoever waits for an answer may have been stopped.
                Order::Append { commit, done } => drop(done.send(self.append(&commit))),
                Order::Probe { done } => drop(done.send(self.connection.probe())),
                Order::TruncateWal { no_reads } => {
                    self.connection.truncate_wal();
                    self.note_size();
                    drop(no_reads);
                    self.is_truncating.store(false, Ordering::Release);
                }
            }
        }
    }

    fn append(&mut self, commit: &Commit) -> Result<Appended, AppendError> {
        if let Some(reason) = self.lost.reason() {
            return Err(reason);
        }
        self.held.check().map_err(|look| match look {
            Look::Replaced(replaced) => replaced.into(),
            Look::Failed { path, error } => {
                AppendError::Unavailable(format!("cannot look at {}: {error}", path.display()))
            }
        })?;
        let floor = self.connection.append(commit)?;
        if let Err(Look::Replaced(replaced)) = self.held.check() {
            // The commit is in the files that were there, and somebody may put them back.
            return Err(AppendError::OutcomeUnknown(replaced.to_string()));
        }
        self.floor.store(floor.0, Ordering::Release);
        self.damage.set_snapshot(self.connection.newest_snapshot().position().index);
        let size = self.note_size();
        Ok(Appended { is_wal_long: self.connection.is_long_wal(size.write_ahead) })
    }

    fn note_size(&self) -> LogSize {
        let size = self.connection.size();
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
        size
    }
}
