//! How a leader learns that it must stop.

use tokio::sync::watch;

use crate::AppendError;

/// Tells a leader that it must stop: another one took over the log, its files are gone, or what its value depends on
/// is damaged. A store tells it within two seconds, even if nobody appends, and takes no commit afterwards.
///
/// Cheap to clone. All clones resolve.
#[derive(Clone, Debug)]
pub struct Lost(watch::Receiver<Option<AppendError>>);

impl Lost {
    /// The two ends, of which a store keeps the first.
    ///
    /// ```
    /// use engine::Term;
    /// use store::{Fenced, Lost};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (sender, mut lost) = Lost::channel();
    /// assert_eq!(lost.reason(), None);
    /// sender.send(Fenced { own: Term(1), by: Term(2) });
    /// assert_eq!(lost.wait().await, Fenced { own: Term(1), by: Term(2) }.into());
    /// # }
    /// ```
    #[must_use]
    pub fn channel() -> (LostSender, Self) {
        let (sender, receiver) = watch::channel(None);
        (LostSender(sender), Self(receiver))
    }

    /// Waits until this leader must stop, and returns why. Never ready if the log is closed without a reason.
    pub async fn wait(&mut self) -> AppendError {
        match self.0.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Why this leader must stop, if it must.
    #[must_use]
    pub fn reason(&self) -> Option<AppendError> {
        self.0.borrow().clone()
    }
}

/// The store's end of [`Lost`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LostSender(watch::Sender<Option<AppendError>>);

impl LostSender {
    /// Tells the leader to stop. The first reason counts.
    pub fn send(&self, reason: impl Into<AppendError>) {
        self.0.send_if_modified(|sent| {
            let is_first = sent.is_none();
            sent.get_or_insert_with(|| reason.into());
            is_first
        });
    }

    /// Why the leader must stop, if it was told so.
    #[must_use]
    pub fn reason(&self) -> Option<AppendError> {
        self.0.borrow().clone()
    }

    /// Whether every [`Lost`] of this channel is dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
