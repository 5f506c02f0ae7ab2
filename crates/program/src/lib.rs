//! What a program does at its edges, where the world may be slow, full, closed or hostile.
//!
//! [`Outlet`] writes lines that nobody may ever read, without waiting for them. [`printable`] makes text of strangers fit
//! for a terminal. [`told_to_end`] waits for the signals that ask for an orderly end. [`allow_many_files`] says what a limit
//! of open files means, and [`flags`] prints help.

mod files;
mod flags;
mod outlet;
mod signal;
mod text;

pub use files::{TooFewFiles, allow_many_files};
pub use flags::flags;
pub use outlet::Outlet;
pub use signal::told_to_end;
pub use text::printable;
