//! The sequencer: the one writer of a log as a task, those who submit to it, and its orderly end.
//!
//! Commands wait in one bounded queue. The [`Committer`] takes all that wait, validates them one by one, seals what was
//! accepted into a batch, encodes it, makes it durable, publishes it, and only then answers. While the store works, the
//! queue fills with the next batch: group commit without a timer.
//!
//! The rules are not here: what enters a batch and who is answered when is [`engine::leader::Intake`], what durable means is
//! the store's, what replicas are sent is the feed's.
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
use store::Opened;
pub use submitter::{FLUSH, RETRY_AFTER_GOODBYE, Submitter};
use tokio::sync::mpsc;

/// The two ends of a sequencer on a log that was opened: who submits, and the task to run. `feed` publishes what is committed.
/// `source` yields the operations of [`Submitter::draw`]; the calculator may refuse some of them. `clock` says when a batch was
/// committed.
pub fn start(
    opened: Opened,
    feed: Feed,
    source: impl FnMut() -> Operation + Send + 'static,
    clock: impl Fn() -> Timestamp + Send + 'static,
) -> (Submitter, Committer) {
    let (commands, queue) = mpsc::channel(error::QUEUE);
    let (notes, health) = health::channel();
    let stopped = Arc::default();
    let committer = Committer::new(opened, feed.clone(), source, clock, queue, Arc::clone(&stopped), notes);
    (Submitter { commands, feed, closed: Arc::default(), stopped, health }, committer)
}
