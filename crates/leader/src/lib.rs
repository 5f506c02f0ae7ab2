//! The leader: owns the number and its log, and streams the log to replicas.
//!
//! | to find | look in |
//! |---|---|
//! | how the parts are put together, and how a leader ends | [`run`](mod@run) |
//! | the calls, a file for each | [`rpc`] |
//! | the one port: connections, browsers, the page, health | [`http`] |
//! | who follows, and which streams are over | [`roster`] |
//! | flags, and what they mean | [`cli`], [`config`] |
//! | operations that the leader makes up | [`generator`] |
//! | replaying a log: at each start, to verify it, to print it | [`replay`], [`scrub`], [`verify`], [`export`] |
//!
//! The one writer is the crate `sequencer`; what replicas are sent is the crate `feed`.

mod advice;
pub mod cli;
pub mod clock;
pub mod config;
pub mod export;
pub mod generator;
pub mod http;
pub mod replay;
pub mod roster;
pub mod rpc;
pub mod run;
pub mod scrub;
mod thread;
pub mod verify;

pub use run::{RunError, run};
