//! What clients may take. docs/limits.md lists these beside the other bounds.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::roster::Patience;

/// How long clients may take, and how much they may have. Flags change the numbers; only tests change the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection to the end of the first request's head. Over HTTP/1.1, also from the first byte of each
    /// later head to its end.
    pub head: Duration,
    /// From a request's head to the end of its body.
    pub body: Duration,
    /// How long a connection may be without a call in progress.
    pub idle: Duration,
    /// How long a connection may take to close after it was asked to.
    pub closing: Duration,
    /// How long a stream may be without progress. A connection whose host acknowledges nothing for `silent` is cut.
    pub streams: Patience,
    /// How many may watch the replicas at a time.
    pub watchers: usize,
    /// How many connections may be open.
    pub connections: usize,
    /// How many connections, and how many streams, one client may have.
    pub per_client: usize,
    /// Concurrent calls on one HTTP/2 connection. A page or a replica needs a handful. Proxies and load tests put many
    /// subscribers on one connection, and open another when it is full.
    pub calls: u32,
    /// The most bytes in a request's head. Ours have some hundred; a browser adds its cookies for the host.
    pub head_bytes: u32,
    /// The most bytes in a request of a call that is not a stream. Ours have some hundred.
    pub request_bytes: usize,
    /// Submissions a second, of all together.
    pub submits: NonZeroU32,
    /// Submissions a second, of one producer, or of one client if it does not name a producer.
    pub submits_of_one: NonZeroU32,
    /// Bytes that all streams together may hold before their connections write them.
    pub send_buffers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            closing: Duration::from_secs(2),
            streams: Patience::default(),
            watchers: 1_000,
            connections: 20_000,
            per_client: 1_000,
            calls: 1_024,
            head_bytes: 16 << 10,
            request_bytes: 64 << 10,
            submits: NonZeroU32::new(100_000).unwrap_or(NonZeroU32::MAX),
            submits_of_one: NonZeroU32::new(10_000).unwrap_or(NonZeroU32::MAX),
            send_buffers: feed::UNSENT_BYTES,
        }
    }
}
