//! Places for a log, its backup, and the log that is restored from it.

use std::path::PathBuf;

use engine::Operation;
use leader::backup::backup;
use leader::restore::restore;
use tempfile::TempDir;

use super::TestLeader;

/// Commits additions of one.
pub async fn add(leader: &TestLeader, count: u64) {
    for _ in 0..count {
        leader.calls().submit(Operation::Add(1)).await.unwrap();
    }
}

/// Places for a log, its backup, and the log that is restored from it.
pub struct Places {
    pub parent: TempDir,
}

impl Places {
    pub fn new() -> Self {
        Self { parent: TempDir::new().unwrap() }
    }

    pub fn log(&self) -> PathBuf {
        self.parent.path().join("log")
    }

    pub fn backup(&self) -> PathBuf {
        self.parent.path().join("backup.sqlite")
    }

    pub fn restored(&self) -> PathBuf {
        self.parent.path().join("restored")
    }

    pub fn back_up(&self) {
        backup(&self.log(), &self.backup(), &mut Vec::new()).unwrap();
    }

    pub fn restore(&self) {
        restore(&self.backup(), &self.restored(), None, &mut Vec::new()).unwrap();
    }
}
