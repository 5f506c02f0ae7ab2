//! The program's log lines on standard error.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use program::{Outlet, printable};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Bytes that may wait for a reader of standard error: some five thousand lines. Further lines are dropped and counted.
const QUEUE_BYTES: usize = 1 << 20;

const DEFAULT_FILTER: &str = "info";

/// Sends log lines and panics to standard error, without waiting for its reader.
///
/// # Errors
///
/// If the system refuses a thread or an open file.
pub(crate) fn start() -> io::Result<Outlet> {
    let outlet = Outlet::stderr(QUEUE_BYTES, dropped)?;
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let (filter, wrong) = match EnvFilter::try_new(if wanted.is_empty() { DEFAULT_FILTER } else { &wanted }) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let lines = outlet.clone();
    let fields = debug_fn(|writer, field, value| {
        // Names and errors may hold text from clients.
        let value = format!("{value:?}");
        let value = printable(&value);
        if field.name() == "message" { writer.write_str(&value) } else { write!(writer, "{field}={value}") }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields.delimited(" "))
        .with_writer(move || Line(lines.clone()))
        .with_ansi(is_colourful())
        .with_target(false)
        .log_internal_errors(false)
        .init();
    outlet.take_panics();
    if let Some(error) = wrong {
        warn!(%error, "RUST_LOG is not a valid filter, using {DEFAULT_FILTER}; write debug, or info,feed=debug");
    }
    Ok(outlet)
}

fn is_colourful() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The line that reports dropped lines, in the format of all others.
fn dropped(lines: u64) -> String {
    let mut line = String::new();
    let _: fmt::Result = SystemTime.format_time(&mut Writer::new(&mut line));
    line + &format!(
        "  WARN log lines were dropped: they were not read in time, or could not be written dropped={lines}"
    )
}

struct Line(Outlet);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
