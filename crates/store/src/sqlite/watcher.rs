//! Notices between commits that the files were replaced or that another leader took over.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::debug;

use super::SqliteReader;
use super::error::RowError;
use super::held::{Held, Look};
use crate::{AppendError, Fenced, LostSender};

/// How often it looks. The contract allows two seconds, and a look costs some microseconds.
const INTERVAL: Duration = Duration::from_millis(250);

/// A thread that looks at the files and the term until this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the files of `held` and the term, which must stay what it was when `reader` was opened. Sends the first
    /// reason to stop to `lost`.
    pub(super) fn start(held: Arc<Held>, reader: SqliteReader, lost: LostSender) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log-watcher".to_owned()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some(reason) = look(&held, &reader) {
                    lost.send(reason);
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn look(held: &Held, reader: &SqliteReader) -> Option<AppendError> {
    match held.check() {
        Ok(()) => {}
        Err(Look::Replaced(replaced)) => return Some(replaced.into()),
        Err(Look::Failed { path, error }) => debug!(path = %path.display(), %error, "cannot look at a file"),
    }
    let own = reader.term();
    match reader.term_now() {
        Ok(term) if term == own => None,
        Ok(by) => Some(Fenced { own, by }.into()),
        Err(RowError::Corrupt(damage)) => Some(damage.into()),
        // The next commit reports it.
        Err(RowError::Unavailable(problem)) => {
            debug!(%problem, "cannot look at the term");
            None
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
