//! A native replica: follows a leader and writes what it holds to standard output.

pub mod credentials;
pub mod faults;
pub mod json;
pub mod log;
pub mod output;
pub mod retry;
