//! Flags and their help.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command, Parser};

use crate::generate;

/// The flags of this process. If they ask for help or are wrong, prints the text instead.
///
/// # Errors
///
/// The code to end with, after a text was printed. Help that cannot be written is a failure, unlike in clap's own `parse`.
pub fn flags<T: Parser>() -> Result<T, ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == generate::FLAG) {
        let kind = arguments.next().unwrap_or_default();
        return Err(print_generated(T::command(), &kind.to_string_lossy()));
    }
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

fn print_generated(command: Command, kind: &str) -> ExitCode {
    let printed = match generate::generate(command, kind) {
        Ok(text) => text.and_then(|text| io::stdout().write_all(&text)),
        Err(generate::UnknownKind) => {
            let kinds = "man, man:SUBCOMMAND, bash, elvish, fish, powershell, zsh";
            let _ = writeln!(io::stderr(), "error: {} takes one of: {kinds}", generate::FLAG);
            return ExitCode::from(2);
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
