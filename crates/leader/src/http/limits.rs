//! What clients may take. docs/limits.md lists these beside the other bounds.

use std::time::Duration;

use crate::roster::Patience;

/// How long clients may take, and how many may watch. Only tests change the defaults.
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
        }
    }
}
