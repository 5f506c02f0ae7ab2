//! The configuration of a leader.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use engine::Durability;
use program::Outlet;
use thiserror::Error;

use crate::http::access::Access;
use crate::http::client::TrustedProxies;
use crate::http::limits::Limits;
use crate::http::tokens::Tokens;
use crate::traces::Traces;

/// The configuration of a leader.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where random operations come from.
    pub generator: Generator,
    /// How many random operations to draw; `None` for no limit.
    pub count: Option<u64>,
    /// Seed of the random operations.
    pub seed: u64,
    /// Whether callers may pause and pace the generator. `None`: if the leader listens on a loopback address.
    pub control: Option<bool>,
    /// The highest rate that they can ask for, in operations a second.
    pub max_rate: u32,
    /// Where the log is kept.
    pub storage: Storage,
    /// How many events of history are kept at least, as far as `retain_bytes` allows.
    pub retain: NonZeroU64,
    /// How many bytes the log may take, on the disk without the write-ahead log. `None` for no bound.
    pub retain_bytes: Option<NonZeroU64>,
    /// Time between heartbeats.
    pub heartbeat_interval: Duration,
    /// How many streams are served at a time.
    pub max_subscribers: usize,
    /// Which browsers are answered.
    pub access: Access,
    /// Who may read and write.
    pub tokens: Tokens,
    /// Where log lines go, if the program has one: metrics tell how many were dropped.
    pub lines: Option<Outlet>,
    /// Where traces of submissions go.
    pub traces: Traces,
    /// Whose word is taken for who called them.
    pub trusted_proxies: TrustedProxies,
    /// How long clients may take, and how much they may have.
    pub limits: Limits,
}

/// Where the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    Memory,
    /// In a directory.
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What a commit survives.
        durability: Durability,
        /// Events between snapshots.
        snapshot_every: NonZeroU64,
    },
}

/// How often random operations are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Never.
    Off,
    /// After a random pause before each.
    Paced(Pace),
    /// This many a second, evenly spaced.
    Rate(u32),
}

/// A range of pauses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The shortest pause.
    pub min: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// Why a text is not a range of pauses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPace {
    /// There is no `..`.
    #[error("expected a range such as 10ms..1s")]
    NotARange,
    /// One end is not a time.
    #[error("{0:?} is not a time such as 10ms or 1s")]
    NotATime(String),
    /// The first is longer than the second, or the second is zero.
    #[error("the range must begin with the shorter pause and end above zero")]
    Backwards,
}

impl FromStr for Pace {
    type Err = InvalidPace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (min, max) = text.split_once("..").ok_or(InvalidPace::NotARange)?;
        let time = |text: &str| {
            humantime::parse_duration(text.trim()).map_err(|_| InvalidPace::NotATime(text.trim().to_owned()))
        };
        let (min, max) = (time(min)?, time(max)?);
        if min > max || max.is_zero() { Err(InvalidPace::Backwards) } else { Ok(Self { min, max }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_pauses_are_parsed() {
        let pace = |min, max| Ok(Pace { min: Duration::from_millis(min), max: Duration::from_millis(max) });
        assert_eq!("10ms..1s".parse(), pace(10, 1_000));
        assert_eq!("0s .. 5ms".parse(), pace(0, 5));
        assert_eq!("10ms".parse::<Pace>(), Err(InvalidPace::NotARange));
        assert_eq!("10..1s".parse::<Pace>(), Err(InvalidPace::NotATime("10".to_owned())));
        assert_eq!("1s..10ms".parse::<Pace>(), Err(InvalidPace::Backwards));
        assert_eq!("0s..0s".parse::<Pace>(), Err(InvalidPace::Backwards));
    }
}
