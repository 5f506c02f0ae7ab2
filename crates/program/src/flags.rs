//! Flags, and what is printed instead of running.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// The flags of this process, or the code to end with: after help that was asked for, or a message that says what is
/// wrong with a flag.
///
/// # Errors
///
/// The code. Unlike with clap's own `parse`, help that could not be written is a failure.
pub fn flags<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|text| {
        let code = u8::try_from(text.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        match text.print() {
            // Who reads the help may have seen enough of it.
            Err(error) if !text.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
                // There is no other place to say it.
                let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
                ExitCode::FAILURE
            }
            _ => code,
        }
    })
}
