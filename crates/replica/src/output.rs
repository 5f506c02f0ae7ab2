//! Writes what a replica tells, in the format that was asked for.

use std::io::{self, Write};

use clap::ValueEnum;
use engine::replica::Notice;
use engine::{Replica, Resume};
use follower::{LinkError, Observer, Standing};
use tokio::sync::oneshot;

use crate::{json, log};

/// What the lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Log,
    /// One JSON object a line, with stable field names.
    Json,
}

/// Writes a line for everything that happens.
#[derive(Debug)]
pub struct Output<W> {
    format: Format,
    writer: W,
    /// Taken once writing has failed.
    broken: Option<oneshot::Sender<io::Error>>,
    /// A leader that is away fails every attempt in the same way: it is said once.
    last_failure: Option<String>,
}

impl<W: Write> Output<W> {
    /// Writes to `writer`. The receiver gets the error that ends writing, if one does.
    pub fn new(format: Format, writer: W) -> (Self, oneshot::Receiver<io::Error>) {
        let (broken, on_broken) = oneshot::channel();
        (Self { format, writer, broken: Some(broken), last_failure: None }, on_broken)
    }

    fn line(&mut self, line: Option<String>) {
        let Some(line) = line else { return };
        // Standard output is line-buffered, so the line is out when this returns.
        if let Err(error) = writeln!(self.writer, "{line}")
            && let Some(broken) = self.broken.take()
        {
            // The receiver lives as long as the session.
            let _ = broken.send(error);
        }
    }
}

impl<W: Write> Observer for Output<W> {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        if matches!(notice, Notice::Welcomed(_)) {
            self.last_failure = None;
        }
        let line = match self.format {
            Format::Log => log::notice(&notice, replica),
            Format::Json => json::notice(&notice, replica),
        };
        self.line(line);
    }

    fn link_failed(&mut self, error: &LinkError) {
        let error = error.to_string();
        if self.last_failure.as_ref() == Some(&error) {
            return;
        }
        let line = match self.format {
            Format::Log => log::link_failed(&error),
            Format::Json => json::link_failed(&error),
        };
        self.last_failure = Some(error);
        self.line(Some(line));
    }

    fn standing(&mut self, standing: Standing, at: Resume) {
        let line = match self.format {
            Format::Log => log::standing(standing, at),
            Format::Json => json::standing(standing, at),
        };
        self.line(line);
    }
}
