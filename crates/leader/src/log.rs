//! The log on standard error.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use program::{Outlet, printable};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// What waits for a reader of standard error: some five thousand lines. More are dropped, counted and told.
const QUEUE_BYTES: usize = 1 << 20;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Sends everything that is logged, panics included, to standard error without waiting for it.
///
/// # Errors
///
/// If there is no room for a thread or an open file.
pub(crate) fn start() -> io::Result<Outlet> {
    let outlet = Outlet::stderr(QUEUE_BYTES, dropped)?;
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let (filter, wrong) = match EnvFilter::try_new(if wanted.is_empty() { DEFAULT_FILTER } else { &wanted }) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let lines = outlet.clone();
    let fields = debug_fn(|writer, field, value| {
        // A name or an error may come from a stranger.
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
        warn!(%error, "RUST_LOG is not understood, so {DEFAULT_FILTER} is logged; it looks like debug, or info,feed=debug");
    }
    Ok(outlet)
}

fn is_colourful() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The line for lines that were dropped, which looks like the others.
fn dropped(lines: u64) -> String {
    let mut line = String::new();
    // Neither the clock nor a string fails to be written.
    let _: fmt::Result = SystemTime.format_time(&mut Writer::new(&mut line));
    line + &format!("  WARN log lines were dropped: nobody read them, or they could not be written dropped={lines}")
}

/// Takes what was formatted, one line a call.
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
