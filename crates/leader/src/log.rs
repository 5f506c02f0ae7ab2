//! The program's log lines on standard error.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use leader::cli::LogFormat;
use program::{Outlet, printable};
use serde_json::json;
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Bytes that may wait for a reader of standard error: some five thousand lines. Further lines are dropped and counted.
const QUEUE_BYTES: usize = 1 << 20;

const DEFAULT_FILTER: &str = "info";

/// The program's log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    format: LogFormat,
    pub(crate) lines: Outlet,
}

impl Log {
    /// Sends log lines and panics to standard error, without waiting for its reader.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread or an open file.
    pub(crate) fn start(format: LogFormat) -> io::Result<Self> {
        let lines = Outlet::stderr(
            QUEUE_BYTES,
            match format {
                LogFormat::Text => dropped,
                LogFormat::Json => dropped_as_json,
            },
        )?;
        let wanted = env::var("RUST_LOG").unwrap_or_default();
        let (filter, wrong) = match EnvFilter::try_new(if wanted.is_empty() { DEFAULT_FILTER } else { &wanted }) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
        };
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || Line(writer.clone()))
            .with_target(false)
            .log_internal_errors(false);
        match format {
            LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
            LogFormat::Text => builder.fmt_fields(fields()).with_ansi(is_colourful()).init(),
        }
        lines.take_panics(match format {
            LogFormat::Text => str::to_owned,
            LogFormat::Json => error_as_json,
        });
        if let Some(error) = wrong {
            warn!(%error, "RUST_LOG is not a valid filter, using {DEFAULT_FILTER}; write debug, or info,feed=debug");
        }
        Ok(Self { format, lines })
    }

    /// Writes why the program ends.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let text = format!("error: {}", printable(&format!("{error:#}")));
        self.lines.line(match self.format {
            LogFormat::Text => text,
            LogFormat::Json => error_as_json(&text),
        });
    }
}

/// How fields are written as text.
fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer, field, value| {
        // Names and errors may hold text from clients.
        let value = format!("{value:?}");
        let value = printable(&value);
        if field.name() == "message" { writer.write_str(&value) } else { write!(writer, "{field}={value}") }
    })
    .delimited(" ")
}

fn is_colourful() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

const DROPPED: &str = "log lines were dropped: they were not read in time, or could not be written";

/// The line that reports dropped lines, in the format of all others.
fn dropped(lines: u64) -> String {
    format!("{}  WARN {DROPPED} dropped={lines}", now())
}

fn dropped_as_json(lines: u64) -> String {
    json!({ "timestamp": now(), "level": "WARN", "message": DROPPED, "dropped": lines }).to_string()
}

fn error_as_json(text: &str) -> String {
    json!({ "timestamp": now(), "level": "ERROR", "message": text }).to_string()
}

/// The time, as in all other lines.
fn now() -> String {
    let mut time = String::new();
    let _: fmt::Result = SystemTime.format_time(&mut Writer::new(&mut time));
    time
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
