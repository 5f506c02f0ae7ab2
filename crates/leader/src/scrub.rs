//! Reads the stored history once after the start, so that damage is reported before a reader needs the events.

use std::sync::Arc;
use std::time::Duration;

use engine::Index;
use store::{LogReader, ReadError};

/// Bytes of each read, and the pause after it that leaves the disk to others. A million small events take some two seconds.
const READ_BYTES: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Reads the history up to `tail` once, slowly. The store remembers any damage that it finds.
pub async fn scrub(log: Arc<dyn LogReader>, tail: Index) {
    let mut next = log.floor().next();
    while next <= tail {
        next = match log.read(next, READ_BYTES).await {
            Ok(batches) => match batches.last() {
                Some(last) => last.end.index.next(),
                None => return,
            },
            Err(ReadError::Compacted(compacted)) => compacted.floor.next(),
            Err(ReadError::Corrupt(_)) => {
                let damage = log.damage();
                let here = damage.iter().find(|place| place.first <= next && next <= place.last);
                let Some(here) = here else { return };
                here.last.next()
            }
            Err(ReadError::Unavailable(_)) => return,
        };
        tokio::time::sleep(PAUSE).await;
    }
}
