//! Flags and their help.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// The flags of this process. If they ask for help or are wrong, prints the text instead.
///
/// # Errors
///
/// The code to end with, after a text was printed. Help that cannot be written is a failure, unlike in clap's own `parse`.
pub fn flags<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|text| {
        let code = u8::try_from(text.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        match text.print() {
            // A reader that closes the pipe has read enough of the help.
            Err(error) if !text.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
                // If this fails too, there is no other place to say it.
                let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
                ExitCode::FAILURE
            }
            _ => code,
        }
    })
}
