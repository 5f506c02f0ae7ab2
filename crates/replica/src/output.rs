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
    /// What failed is already told, or told before: people need not read that the link is lost, too.
    failure_told: bool,
}

impl<W: Write> Output<W> {
    /// Writes to `writer`. The receiver gets the error that ends writing, if one does.
    pub fn new(format: Format, writer: W) -> (Self, oneshot::Receiver<io::Error>) {
        let (broken, on_broken) = oneshot::channel();
        (Self { format, writer, broken: Some(broken), last_failure: None, failure_told: false }, on_broken)
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
        let failure_told = std::mem::take(&mut self.failure_told);
        let line = match self.format {
            Format::Log if failure_told && notice == Notice::LinkLost => None,
            Format::Log => log::notice(&notice, replica),
            Format::Json => json::notice(&notice, replica),
        };
        self.line(line);
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.failure_told = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, tell: impl FnOnce(&mut Output<Vec<u8>>)) -> Vec<String> {
        let (mut output, _broken) = Output::new(format, Vec::new());
        tell(&mut output);
        String::from_utf8(output.writer).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_leader_that_stays_away_is_told_once() {
        let failed = LinkError::Frame(wire::DecodeError::Missing(wire::convert::Missing("frame")));
        let lines = written(Format::Log, |output| {
            for _ in 0..3 {
                output.link_failed(&failed);
                output.notice(Notice::LinkLost, &Replica::new(0));
            }
            output.notice(Notice::LinkLost, &Replica::new(0));
        });
        let expected =
            ["No link to the leader: a malformed frame arrived: frame is not set", "The link to the leader was lost"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_output_that_nobody_reads_ends_the_program_and_not_with_a_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut output, mut broken) = Output::new(Format::Json, Closed);
        output.notice(Notice::LinkLost, &Replica::new(0));
        output.notice(Notice::LinkLost, &Replica::new(0));
        assert_eq!(broken.try_recv().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
