//! What a program does at its edges, where others may be slow, full, closed or hostile.
//!
//! [`Outlet`] writes lines without waiting for a reader. [`printable`] makes a stranger's text safe for a terminal.
//! [`shutdown_signal`] waits for a signal that asks for an orderly end. [`allow_many_files`] raises the limit of open files,
//! and [`flags`] parses flags and prints help.

mod files;
mod flags;
mod generate;
mod outlet;
mod signal;
mod text;

pub use files::{TooFewFiles, allow_many_files};
pub use flags::flags;
pub use outlet::Outlet;
pub use signal::shutdown_signal;
pub use text::printable;
