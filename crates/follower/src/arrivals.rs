//! Tells a slow stream from a silent one: bytes are counted where they arrive.
//!
//! A frame counts when it is whole. On a slow link that takes longer than a leader may be silent, so what arrives of it
//! must count, too. Natively the count is of the connection, since HTTP/2 hands out only whole pieces of up to 16 KiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many bytes are a sign of life. A link of 4 kB/s brings them in an eighth of a second. Less may be what a proxy sends
/// by itself while nothing comes from the leader, such as HTTP/2 pings.
const SIGN_OF_LIFE: usize = 512;

/// The bytes of one stream. All clones count for the same stream.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Since the last sign of life.
    bytes: AtomicUsize,
    sign_of_life: Notify,
}

impl Arrivals {
    /// So many bytes arrived.
    pub fn add(&self, bytes: usize) {
        // Only one place counts at a time, so nothing is lost between the two.
        let sum = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if sum >= SIGN_OF_LIFE {
            self.shared.bytes.store(0, Ordering::Relaxed);
            self.shared.sign_of_life.notify_one();
        }
    }

    /// Waits for the next sign of life, or returns at once if one came since the last call.
    pub(crate) async fn sign_of_life(&self) {
        self.shared.sign_of_life.notified().await;
    }
}
