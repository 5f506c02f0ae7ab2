//! The leader's half of the protocol.
//!
//! | to find | look in |
//! |---|---|
//! | what may enter the log, and how it becomes batches | [`Sequencer`] |
//! | when a caller may be answered | [`PendingAnswers`] |
//! | both together: all that a leader decides about submissions | [`Intake`] |
//! | how a replica's position is judged | [`LogView`] |
//! | what a subscriber is sent next, and from where | [`Subscription`] |
//! | who submitted what last | [`Producers`] |

mod intake;
mod pending;
mod producers;
mod sequencer;
mod subscription;
mod view;

pub use intake::{Intake, Sealed, Taken};
pub use pending::PendingAnswers;
pub use producers::{MAX_PRODUCERS, ProducerChanges, ProducerError, Producers, Submitted};
pub use sequencer::{BatchFull, IndexMismatch, MAX_BATCH_EVENTS, ProposeError, Proposed, Rejection, Sequencer};
pub use subscription::{Admission, RecentFrames, Subscription, ToSend};
pub use view::{KnownDigest, LogView, Source};
