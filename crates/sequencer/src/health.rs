//! Whether the log can be written now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A commit that takes this long is reported as hanging. A slow disk needs far less.
pub(crate) const HANGS: Duration = Duration::from_secs(2);

/// Whether the log can be written now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WriteHealth {
    problem: watch::Receiver<Option<String>>,
    commit: Arc<Mutex<Option<Instant>>>,
}

impl WriteHealth {
    /// Why the log cannot be written, or `None` if it can.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self.hangs() {
            Some(since) => Some(format!("a commit has hung for {} s: the disk does not answer", since.as_secs())),
            None => self.problem.borrow().clone(),
        }
    }

    /// How long the current commit has taken, if that is 2 s or more.
    #[must_use]
    pub fn hangs(&self) -> Option<Duration> {
        let began = *commit(&self.commit);
        began.map(|began| began.elapsed()).filter(|since| *since >= HANGS)
    }
}

/// The committer's end of [`WriteHealth`].
#[derive(Debug)]
pub(crate) struct Notes {
    problem: watch::Sender<Option<String>>,
    commit: Arc<Mutex<Option<Instant>>>,
}

pub(crate) fn channel() -> (Notes, WriteHealth) {
    let (problem, watched) = watch::channel(None);
    let commit = Arc::default();
    (Notes { problem, commit: Arc::clone(&commit) }, WriteHealth { problem: watched, commit })
}

impl Notes {
    pub(crate) fn is_troubled(&self) -> bool {
        self.problem.borrow().is_some()
    }

    /// Notes why the store refuses commits. Returns whether the reason is new.
    pub(crate) fn trouble(&self, reason: &str) -> bool {
        let differs = |problem: &mut Option<String>| {
            let news = problem.as_deref() != Some(reason);
            *problem = Some(reason.to_owned());
            news
        };
        self.problem.send_if_modified(differs)
    }

    /// Notes that the store accepts commits. Returns whether it refused them before.
    pub(crate) fn solved(&self) -> bool {
        self.problem.send_if_modified(|problem| problem.take().is_some())
    }

    /// Notes that a commit or probe is in progress, until the result is dropped.
    pub(crate) fn begin(&self) -> Underway<'_> {
        *commit(&self.commit) = Some(Instant::now());
        Underway(&self.commit)
    }
}

pub(crate) struct Underway<'a>(&'a Mutex<Option<Instant>>);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        *commit(self.0) = None;
    }
}

fn commit(commit: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    commit.lock().unwrap_or_else(PoisonError::into_inner)
}
