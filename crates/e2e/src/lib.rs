//! Tests of the built programs, as users run them. The tests are under `tests/`; here is what they share.
//!
//! `cargo xtask test` builds the programs and says where they are in `CALCULATOR_BIN_DIR`.

pub mod browser;
pub mod fill;
pub mod load;
pub mod process;
pub mod proxy;
pub mod readers;
pub mod slow_link;
