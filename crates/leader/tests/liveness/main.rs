//! Subscribers that vanish without closing their connection, and slow ones that are alive.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

#[path = "../common/mod.rs"]
mod common;
mod network;
mod reports;
