//! How long others may take. docs/limits.md lists these beside the other bounds.

use std::time::Duration;

use crate::roster::Patience;

/// How long others may take. Only tests choose other numbers than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection to the first complete head of a request; over HTTP/1.1 also from the first byte of a
    /// later head to its end.
    pub head: Duration,
    /// From a request's head to the end of its body.
    pub body: Duration,
    /// How long a connection may have no call under way.
    pub idle: Duration,
    /// How long a connection may take to end after it was asked to.
    pub closing: Duration,
    /// How long a stream may be without progress. A connection whose host acknowledges nothing for `silent` is cut.
    pub streams: Patience,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            closing: Duration::from_secs(2),
            streams: Patience::default(),
        }
    }
}
