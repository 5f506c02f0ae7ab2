//! The stores of this crate keep the contract.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use store::MemoryStore;
use store::testing::Setup;

const LOG: engine::LogId = engine::LogId(7);

mod memory {
    use super::*;

    store::testing::contract!(|setup: Setup| MemoryStore::bounded(LOG, setup.retain, setup.retain_bytes));
}

mod sqlite {
    use std::fs;
    use std::num::NonZeroU64;

    use engine::Durability;
    use store::sqlite::{OpenError, Options, SqliteStore};
    use store::{Opened, Store};
    use tempfile::TempDir;

    use super::*;

    /// A directory on a file system that leaders on two machines share: the lock of one does not reach the other.
    struct Shared {
        directory: TempDir,
        store: SqliteStore,
    }

    impl Shared {
        fn new(setup: Setup) -> Self {
            let directory = TempDir::new().unwrap();
            let options = Options {
                directory: directory.path().to_owned(),
                durability: Durability::Fsync,
                snapshot_every: NonZeroU64::new(setup.snapshot_every).unwrap(),
                retain: NonZeroU64::new(setup.retain).unwrap(),
                retain_bytes: NonZeroU64::new(setup.retain_bytes),
            };
            Self { store: SqliteStore::new(options, LOG), directory }
        }
    }

    impl Store for Shared {
        type Error = OpenError;

        async fn open(&self) -> Result<Opened, OpenError> {
            let _ = fs::remove_file(self.directory.path().join("leader.lock"));
            self.store.open().await
        }
    }

    store::testing::contract!(Shared::new);
}
