//! The lines of the event log in words.

use engine::{Index, Timestamp};

use super::Model;
use super::history::{Line, Row};
use super::who::Who;
use crate::format::{self, NOTHING, TimeOfDay};

/// A line of the event log in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    /// Its name in the style sheet.
    pub class: &'static str,
    /// The event's index; 0 if it is not an event.
    pub index: u64,
    /// The index for people.
    pub shown_index: String,
    /// The operation, or what happened.
    pub text: String,
    /// The value for programs; empty if it is not known.
    pub value: String,
    /// The value for people.
    pub shown_value: String,
    /// Who submitted it.
    pub author: String,
    /// When it was committed.
    pub time: String,
    /// The incident's id; 0 if it is none.
    pub incident: u64,
}

impl Model {
    /// The line at a place of the event log; the newest is at 0. `offset` is the local time's difference from UTC, in
    /// seconds.
    #[must_use]
    pub fn log_line(&self, place: u64, offset: i64) -> Option<LogLine> {
        Some(match self.history.line(place)? {
            Line::Event { row, own } => event(&row, own, offset),
            Line::Incident(id) => {
                let incident = self.incidents().find(|incident| incident.id() == id);
                LogLine {
                    class: "row incident",
                    text: incident.map_or_else(String::new, |incident| incident.line()),
                    incident: id,
                    ..LogLine::default()
                }
            }
            Line::Unread(index) => missing(index, "…"),
            Line::Damaged(index) => missing(index, "damaged in the leader’s storage"),
        })
    }
}

fn event(row: &Row, own: bool, offset: i64) -> LogLine {
    LogLine {
        class: if own { "row mine" } else { "row" },
        index: row.index.0,
        shown_index: format::grouped_count(row.index.0),
        text: format::operation(row.operation),
        value: row.value.map_or_else(String::new, |value| value.to_string()),
        shown_value: row.value.map_or_else(|| NOTHING.to_owned(), format::grouped),
        author: author(&row.author, own),
        time: row.committed_at.map_or_else(String::new, |at| local_time(at, offset)),
        incident: 0,
    }
}

fn missing(index: Index, text: &str) -> LogLine {
    LogLine {
        class: "row",
        index: index.0,
        shown_index: format::grouped_count(index.0),
        text: text.to_owned(),
        ..LogLine::default()
    }
}

/// Who submitted an event, in words.
pub(crate) fn author(who: &Who, own: bool) -> String {
    if own { "you" } else { who.name() }.to_owned()
}

/// The local time of day at which something was committed.
pub(crate) fn local_time(at: Timestamp, offset: i64) -> String {
    let seconds = i64::try_from(at.0 / 1_000_000).unwrap_or_default() + offset;
    TimeOfDay(u32::try_from(seconds.rem_euclid(86_400)).unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use engine::{Identity, Operation};

    use super::*;

    #[test]
    fn a_line_says_what_was_done_by_whom_and_when() {
        let identity = Identity { id: "1".to_owned(), name: "phone".to_owned(), ..Identity::default() };
        let row = Row {
            index: Index(1_234),
            operation: Operation::Multiply(-6),
            value: Some(-42),
            author: Who::Named(Rc::new(identity)),
            committed_at: Some(Timestamp(86_400_000_000 * 3 + 3_661_000_000)),
        };
        let line = event(&row, false, 3_600);
        let texts = [&line.shown_index, &line.text, &line.shown_value, &line.author, &line.time];
        assert_eq!(texts, ["1,234", "× −6", "−42", "phone", "02:01:01"]);
        assert_eq!((event(&row, true, 0).author.as_str(), event(&row, true, 0).class), ("you", "row mine"));
        let unknown = Row { value: None, author: Who::Unknown, committed_at: None, ..row };
        let line = event(&unknown, false, 0);
        assert_eq!([&line.shown_value, &line.author, &line.time], [NOTHING, "", ""]);
    }
}
