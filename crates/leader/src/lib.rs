//! The leader: owns the value and its log, and streams the log to replicas.
//!
//! | to find | look in |
//! |---|---|
//! | the start and end of a leader, and how its parts connect | [`run`](mod@run) |
//! | the calls, a file for each | [`rpc`] |
//! | the one port: connections, browsers, the page, health | [`http`] |
//! | connected replicas and open streams | [`roster`] |
//! | flags and configuration | [`cli`], [`config`] |
//! | what is counted, and traces | [`metrics`], [`traces`] |
//! | random operations | [`generator`] |
//! | a log into a file, and back | [`backup`], [`restore`] |
//! | replaying a log: at each start, to verify it, to print it | [`replay`], [`scrub`], [`verify`], [`export`] |
//!
//! The crate `sequencer` writes the log; the crate `feed` publishes it to subscribers.

mod advice;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod export;
pub mod generator;
pub mod health_check;
pub mod http;
pub mod metrics;
pub mod rate;
pub mod replay;
pub mod restore;
pub mod roster;
pub mod rpc;
pub mod run;
pub mod scrub;
mod service_manager;
mod thread;
pub mod traces;
pub mod verify;

pub use run::{RunError, run};
