//! Writes what a replica does, in the chosen format.

use std::time::Duration;

use clap::ValueEnum;
use engine::replica::{Notice, State};
use engine::{Replica, Resume, Standing};
use follower::{LinkError, Observer};
use program::{Outlet, printable};

use crate::faults::{Healed, Injected};
use crate::retry::Retry;
use crate::{json, log};

/// The format of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Log,
    /// One JSON object a line, with stable field names.
    Json,
}

impl Format {
    /// Makes the line that says how many lines were dropped, because nobody read them or a write failed.
    #[must_use]
    pub fn dropped(self) -> fn(u64) -> String {
        match self {
            Self::Log => log::dropped,
            Self::Json => json::dropped,
        }
    }
}

/// Writes lines in a format. All clones write to the same place.
#[derive(Clone, Debug)]
pub struct Lines {
    format: Format,
    outlet: Outlet,
}

impl Lines {
    /// Writes that a fault was injected.
    pub fn injected(&self, injected: Injected<'_>) {
        self.line(match self.format {
            Format::Log => log::injected(injected),
            Format::Json => json::injected(injected),
        });
    }

    /// Writes that a fault has healed.
    pub fn healed(&self, healed: Healed) {
        self.line(match self.format {
            Format::Log => Some(log::healed(healed)),
            Format::Json => json::healed(healed),
        });
    }

    fn line(&self, line: Option<String>) {
        if let Some(line) = line {
            // A line can hold text of the leader, or of whatever answers in its place.
            self.outlet.line(printable(&line).into_owned());
        }
    }
}

/// Writes a line for everything that happens.
#[derive(Debug)]
pub struct Output {
    lines: Lines,
    /// The leader's address.
    address: String,
    attempt: u32,
    /// The link's error, for the line of the pause that follows.
    failure: Option<String>,
    /// Whether a pause has begun that has no line yet.
    waits: bool,
}

impl Output {
    /// Writes to `outlet` what happens to a replica that follows the leader at `address`.
    #[must_use]
    pub fn new(format: Format, address: String, outlet: Outlet) -> Self {
        Self { lines: Lines { format, outlet }, address, attempt: 0, failure: None, waits: false }
    }

    /// What writes the lines.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.lines
    }
}

impl Observer for Output {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        match notice {
            Notice::Welcomed(_) => self.attempt = 0,
            Notice::StateChanged { to: State::Waiting | State::Stale, from } => {
                self.waits = true;
                self.attempt += u32::from(from == State::Connecting);
            }
            _ => {}
        }
        self.lines.line(match self.lines.format {
            // The line of the pause says it, with the reason.
            Format::Log if self.failure.is_some() && notice == Notice::LinkLost => None,
            Format::Log => log::notice(&notice, replica),
            Format::Json => json::notice(&notice, replica),
        });
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.failure = Some(error.to_string());
    }

    fn waiting(&mut self, pause: Duration) {
        if std::mem::take(&mut self.waits) {
            let failure = self.failure.take();
            let (address, failure) = (self.address.as_str(), failure.as_deref());
            let retry = Retry { address, failure, attempt: self.attempt, pause };
            self.lines.line(match self.lines.format {
                Format::Log => Some(log::retry(&retry)),
                Format::Json => json::retry(&retry),
            });
        }
    }

    fn standing(&mut self, standing: Standing, at: Resume) {
        self.lines.line(match self.lines.format {
            Format::Log => log::standing(standing, at),
            Format::Json => json::standing(standing, at),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines for what `happens`.
    fn written(format: Format, happens: impl FnOnce(&mut Output)) -> Vec<String> {
        let output = Written::default();
        let outlet = Outlet::start(output.clone(), 1 << 20, format.dropped(), |_| {}).unwrap();
        happens(&mut Output::new(format, "http://leader:8080".to_owned(), outlet.clone()));
        assert!(outlet.flush(Duration::from_secs(10)));
        String::from_utf8(output.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The link fails, as a session reports it.
    fn fail(output: &mut Output, message: &str, from: State, pause: u64) {
        output.link_failed(&LinkError::Call(tonic::Status::unavailable(message).into()));
        output.notice(Notice::LinkLost, &Replica::new(0));
        output.notice(Notice::StateChanged { from, to: State::Waiting }, &Replica::new(0));
        output.waiting(Duration::from_millis(pause));
        output.waiting(Duration::ZERO);
    }

    #[test]
    fn a_leader_that_cannot_be_reached_is_reported_with_address_attempt_and_pause() {
        let happens = |output: &mut Output| {
            fail(output, "broken", State::Live, 10);
            fail(output, "refused", State::Connecting, 20);
            fail(output, "refused", State::Connecting, 3_000);
        };
        let expected = [
            "The link to the leader at http://leader:8080 ended: broken; trying again in 10 ms",
            "No link to the leader at http://leader:8080: refused; attempt 1 failed, trying again in 20 ms",
            "No link to the leader at http://leader:8080: refused; attempt 2 failed, trying again in 3000 ms",
        ];
        assert_eq!(written(Format::Log, happens), expected);
        let lines = written(Format::Json, happens);
        let failed: Vec<&String> = lines.iter().filter(|line| line.contains("link_failed")).collect();
        let expected = r#"{"type":"link_failed","reason":"refused","address":"http://leader:8080","attempt":2,"retry_in_ms":3000.0}"#;
        assert_eq!(failed.len(), 3);
        assert_eq!(failed[2], expected);
    }

    #[test]
    fn a_pause_for_another_reason_is_reported_too() {
        let happens = |output: &mut Output| {
            output.notice(Notice::NoWelcome, &Replica::new(0));
            output.notice(Notice::StateChanged { from: State::Connecting, to: State::Waiting }, &Replica::new(0));
            output.waiting(Duration::from_millis(20));
        };
        let lines = written(Format::Log, happens);
        assert_eq!(lines[1], "Attempt 1 to reach the leader at http://leader:8080 failed; trying again in 20 ms");
        let lines = written(Format::Json, happens);
        let expected = r#"{"type":"retry","address":"http://leader:8080","attempt":1,"retry_in_ms":20.0}"#;
        assert_eq!(lines[2], expected);
    }

    #[test]
    fn text_of_a_leader_is_escaped_for_terminals() {
        let hostile = "\u{1b}[2J\u{202e}no\r\nCurrent value: 42 \u{9b}31m\u{7f}\u{2028}";
        let happens = |output: &mut Output| fail(output, hostile, State::Live, 10);
        for format in [Format::Log, Format::Json] {
            let lines = written(format, happens);
            let shown: Vec<&String> = lines.iter().filter(|line| line.contains("Current value")).collect();
            assert_eq!(shown.len(), 1, "no line is forged");
            assert!(shown[0].contains(r"\u001b[2J\u202eno\r\nCurrent value: 42 \u009b31m\u007f\u2028"), "{shown:?}");
        }
        let lines = written(Format::Json, happens);
        let failed = lines.iter().find(|line| line.contains("link_failed")).unwrap();
        let object: serde_json::Value = serde_json::from_str(failed).unwrap();
        assert_eq!(object["reason"], hostile, "a reader of the JSON gets what was sent");
    }
}
