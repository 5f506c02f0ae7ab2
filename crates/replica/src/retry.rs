//! When a replica tries its leader again.

use std::time::Duration;

/// Why and when the replica tries its leader again.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// The leader's address.
    pub address: &'a str,
    /// The error of the link, if it failed.
    pub failure: Option<&'a str>,
    /// How many attempts failed since the last welcome.
    pub attempt: u32,
    /// The pause before the next attempt.
    pub pause: Duration,
}
