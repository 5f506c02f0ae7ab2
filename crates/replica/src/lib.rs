//! A native replica: follows a leader and tells on standard output what it holds.

pub mod json;
pub mod log;
pub mod output;
