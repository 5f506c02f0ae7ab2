//! Runs the built programs as users do: processes, browsers, proxies, slow links and load. The tests in `tests/` and the
//! measurements in `bench` share it.
//!
//! `cargo xtask test` builds the programs and passes their folder in `CALCULATOR_BIN_DIR`.

pub mod browser;
pub mod crowd;
pub mod fill;
pub mod lags;
pub mod load;
pub mod process;
pub mod proxy;
pub mod readers;
pub mod scheme;
pub mod slow_link;
