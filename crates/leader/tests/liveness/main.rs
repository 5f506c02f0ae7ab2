//! Subscribers that are gone and do not say so, and slow ones that are not gone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

#[path = "../common/mod.rs"]
mod common;
mod network;
mod reports;
