//! Fans the committed log out to subscribers.
//!
//! Every frame is encoded once, when it is published, and lies in one ring that all subscribers share. Each subscriber
//! pulls through a [`Cursor`]: it takes as many frames as fit in one write, waits when there is nothing new, reads the
//! store when it fell out of the ring, and takes a snapshot when the store has compacted what it needs. So a slow
//! subscriber delays no other, and costs one cursor and what its connection buffers.

mod catch_up;
mod cursor;
mod feed;
pub mod metrics;
mod ring;

pub use catch_up::UNSENT_BYTES;
pub use cursor::{Cursor, Delivery, SPAN_BYTES};
pub use feed::{Closed, Feed, Published};
pub use metrics::Metrics;
