//! The sequencer: the task that alone writes to a log, its submitters, and its orderly end.
//!
//! Commands wait in one bounded queue. The [`Committer`] takes all waiting commands, validates each, seals the accepted
//! operations into a batch, encodes it, makes it durable, publishes it, and only then answers. While the store works, the
//! queue fills with the next batch: group commit without a timer.
//!
//! The rules live elsewhere: [`engine::leader::Intake`] decides what enters a batch and when callers are answered, the store
//! decides what durable means, and the feed decides what replicas are sent.
//!
//! ```
//! use engine::{GoodbyeReason, LogId, Operation, Timestamp};
//! use store::{MemoryStore, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let opened = MemoryStore::new(LogId(7), 1_000).open().await?;
//! let feed = feed::Feed::new(&opened, std::time::Duration::from_secs(1));
//! let (submitter, committer) = sequencer::start(opened, feed.clone(), || Operation::Add(1), || Timestamp(0));
//! let committing = tokio::spawn(committer.run());
//!
//! assert_eq!(submitter.submit(Operation::Add(6)).await?.value, 6);
//! assert_eq!(submitter.submit(Operation::Multiply(7)).await?.value, 42);
//! submitter.end(GoodbyeReason::ShuttingDown).await;
//! assert!(submitter.submit(Operation::Add(1)).await.is_err());
//! drop(submitter);
//! assert_eq!(committing.await?, None);
//! # Ok(())
//! # }
//! ```

mod committer;
mod error;
mod health;
pub mod metrics;
mod status;
mod submitter;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use committer::Committer;
use engine::{Operation, Timestamp};
pub use error::NotCommitted;
use feed::Feed;
pub use health::WriteHealth;
pub use metrics::Metrics;
use store::Opened;
pub use submitter::{FLUSH, RETRY_AFTER_GOODBYE, Submitter};
use tokio::sync::mpsc;

/// Creates a sequencer for an opened log: the handle to submit with, and the task to run. `feed` publishes each committed
/// batch. `source` yields the operations for [`Submitter::draw`]; the calculator may refuse some of them. `clock` gives each
/// batch its commit time.
pub fn start(
    opened: Opened,
    feed: Feed,
    source: impl FnMut() -> Operation + Send + 'static,
    clock: impl Fn() -> Timestamp + Send + 'static,
) -> (Submitter, Committer) {
    let (commands, queue) = mpsc::channel(error::QUEUE);
    let (notes, health) = health::channel();
    let stopped = Arc::default();
    let metrics = Metrics::default();
    let committer =
        Committer::new(opened, feed.clone(), source, clock, queue, Arc::clone(&stopped), notes, metrics.clone());
    (Submitter { commands, feed, closed: Arc::default(), stopped, health, metrics }, committer)
}
