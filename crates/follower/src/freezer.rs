//! Stops a session for a while, as a browser does with a tab or a laptop that sleeps with all its programs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Freezes a future: while it is frozen, it is not polled. So nothing is read, and what arrives waits in the transport; no
/// timer of the future is looked at. All clones freeze and thaw the same future.
///
/// ```no_run
/// use engine::Replica;
/// use follower::{Freezer, connect, follow};
/// use wire::Identity;
///
/// # struct Quiet;
/// # impl follower::Observer for Quiet {
/// #     fn notice(&mut self, _: engine::replica::Notice, _: &Replica) {}
/// # }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let freezer = Freezer::default();
/// let link = connect("localhost:8080", Identity::default())?;
/// let mut observer = Quiet;
/// let following = freezer.run(follow(Replica::new(1), link, &mut observer));
/// // From another task: the replica stands still, and goes on from where it stood.
/// freezer.freeze();
/// freezer.thaw();
/// # drop(following);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Freezer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    frozen: AtomicBool,
    /// The task that runs the future.
    task: AtomicWaker,
}

impl Freezer {
    /// Runs `future` whenever it is not frozen, and returns its output.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            // Registered before the flag is read, so that no thaw is missed in between.
            self.0.task.register(context.waker());
            if self.is_frozen() { Poll::Pending } else { future.as_mut().poll(context) }
        })
        .await
    }

    /// Freezes the future, if it is not already frozen.
    pub fn freeze(&self) {
        self.0.frozen.store(true, Ordering::SeqCst);
    }

    /// Lets the future go on.
    pub fn thaw(&self) {
        self.0.frozen.store(false, Ordering::SeqCst);
        self.0.task.wake();
    }

    /// Whether the future stands still.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_frozen_future_stands_still_until_it_is_thawed() {
        let (freezer, began) = (Freezer::default(), Instant::now());
        let hand = freezer.clone();
        // A task of its own, so that nothing but the freezer wakes the future.
        tokio::spawn(async move {
            sleep(SECOND / 2).await;
            hand.freeze();
            sleep(5 * SECOND).await;
            hand.thaw();
        });
        let run = freezer.run(async {
            sleep(SECOND).await;
            began.elapsed()
        });
        let saw = timeout(60 * SECOND, run).await;
        assert_eq!(saw, Ok(11 * SECOND / 2), "its timer was looked at while it was frozen");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_but_a_thaw_wakes_it() {
        let freezer = Freezer::default();
        freezer.freeze();
        assert!(timeout(60 * SECOND, freezer.run(async {})).await.is_err());
        freezer.thaw();
        assert!(!freezer.is_frozen());
        freezer.run(async {}).await;
    }
}
