//! `calculator-leader export`: prints the events of the log in a directory.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use engine::Author;
use program::printable;
use serde::Serialize;
use store::sqlite::{OpenError, SqliteReader};

use crate::advice::with_advice;
use crate::replay::{DirectoryReplay, Replayed};

/// One event as a line of JSON. The field names are an interface: `docs/json.md` documents them.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    term: u64,
    committed_at_us: u64,
    operation: &'a str,
    argument: Option<String>,
    value: String,
    digest: String,
    author: &'static str,
    author_id: Option<&'a str>,
    author_name: Option<&'a str>,
}

/// Prints every event of the log in `directory` to `output`, oldest first, up to the first damage.
///
/// # Errors
///
/// The first damage, or an output that cannot be written. An output whose reader closed it is no error.
pub fn export(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    finish(print_all(directory, output))
}

fn print_all(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let mut output = BufWriter::new(output);
    let reader = SqliteReader::open(directory)?;
    let floor = reader.floor();
    let mut replay = DirectoryReplay::new(reader, floor);
    loop {
        let next = replay.next();
        let Some(Replayed { batch, value_before, mut digest_before }) = next.inspect_err(|_| {
            // Prints the events before the damage.
            let _ = output.flush();
        })?
        else {
            break;
        };
        for (event, author) in batch.events(value_before).zip(batch.authors().each()) {
            digest_before = digest_before.after(event.index, event.operation, event.value);
            let named = if let Author::Named(identity) = author { Some(identity) } else { None };
            let line = Line {
                index: event.index.0,
                term: batch.term().0,
                committed_at_us: batch.committed_at().0,
                operation: event.operation.name(),
                argument: event.operation.argument().map(|argument| argument.to_string()),
                value: event.value.to_string(),
                digest: digest_before.to_string(),
                author: match author {
                    Author::Generator => "generator",
                    Author::Named(_) => "named",
                    Author::Unnamed => "unnamed",
                    Author::Unknown => "unknown",
                },
                author_id: named.map(|identity| identity.id.as_str()),
                author_name: named.map(|identity| identity.name.as_str()),
            };
            // An author's name may hold what controls a terminal.
            let line = serde_json::to_string(&line).map_err(io::Error::from)?;
            writeln!(output, "{}", printable(&line))?;
        }
    }
    output.flush()?;
    Ok(())
}

/// Ends a command that prints a log. Turns a closed pipe into success, because the reader of the output has seen enough, and
/// adds advice to the error of a log that cannot be opened.
pub(crate) fn finish(done: anyhow::Result<()>) -> anyhow::Result<()> {
    done.or_else(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe) => Ok(()),
        Some(_) => Err(error.context("cannot write the output; free disk space, or write elsewhere")),
        None => Err(advised(error)),
    })
}

/// Adds advice to the error of a log that cannot be opened.
pub(crate) fn advised(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<OpenError>() {
        Ok(refused) => anyhow::anyhow!("{}", with_advice(&refused)),
        Err(error) => error,
    }
}
