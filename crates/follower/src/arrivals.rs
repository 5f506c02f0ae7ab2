//! Counts bytes where they arrive, so that a slow stream is not taken for a silent one.
//!
//! On a slow link a frame can take longer to arrive than a leader may be silent, so its parts count too. A native process
//! counts the bytes of the connection, because HTTP/2 hands out only whole pieces of up to 16 KiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many bytes are a sign of life. A link of 4 kB/s brings them in an eighth of a second. Fewer bytes may come from a
/// proxy alone, such as HTTP/2 pings.
const SIGN_OF_LIFE: usize = 512;

/// Counts the bytes of one stream. All clones count for the same stream.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The bytes since the last sign of life.
    bytes: AtomicUsize,
    sign_of_life: Notify,
}

impl Arrivals {
    /// Counts `bytes` that arrived.
    pub fn add(&self, bytes: usize) {
        // One transport counts at a time, so no byte is lost between these two steps.
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
