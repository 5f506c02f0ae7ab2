//! Answers that wait until what they rest on is durable.
#![doc = include_str!("pending.md")]

use crate::fault::{self, Fault};
use crate::{Event, Index};

/// Callers who wait for an answer, and the answer that each gets.
///
/// Nobody may learn of anything that a crash can undo. An accepted event is such a thing, and so is a refusal: "the value
/// would overflow" and "the log is at index 7" are true only if the events before them last. So each answer names the
/// newest event that it rests on, and is given when that event is durable.
///
/// `C` names a caller. `E` is what a caller gets instead of an event.
///
/// ```
/// use engine::leader::PendingAnswers;
/// use engine::{Event, Index, Operation};
///
/// let mut pending = PendingAnswers::<_, &str>::new(Index(3));
/// let event = Event { index: Index(4), operation: Operation::Add(1), value: 8 };
/// assert_eq!(pending.accept(event, "Ada"), None);
/// assert_eq!(pending.reject("division by zero", Index(4), "Bob"), None);
/// assert_eq!(pending.durable(Index(4)), [("Ada", Ok(event)), ("Bob", Err("division by zero"))]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PendingAnswers<C, E> {
    /// Events up to this one are durable.
    durable: Index,
    /// In the order in which the callers came.
    waiting: Vec<Pending<C, E>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending<C, E> {
    rests_on: Index,
    caller: C,
    answer: Result<Event, E>,
}

impl<C, E> PendingAnswers<C, E> {
    /// Nobody waits. Events up to and including `durable` are durable.
    #[must_use]
    pub fn new(durable: Index) -> Self {
        Self { durable, waiting: Vec::new() }
    }

    /// The caller's operation is `event`. Returns the answer if it can be given at once.
    #[must_use]
    pub fn accept(&mut self, event: Event, caller: C) -> Option<(C, Result<Event, E>)> {
        self.answer(Pending { rests_on: event.index, caller, answer: Ok(event) })
    }

    /// The caller's operation was refused for `why`, when `newest` was the newest event. Returns the answer if it can be
    /// given at once.
    #[must_use]
    pub fn reject(&mut self, why: E, newest: Index, caller: C) -> Option<(C, Result<Event, E>)> {
        self.answer(Pending { rests_on: newest, caller, answer: Err(why) })
    }

    fn answer(&mut self, pending: Pending<C, E>) -> Option<(C, Result<Event, E>)> {
        if pending.rests_on <= self.durable || fault::active(Fault::AcknowledgeBeforeDurable) {
            return Some((pending.caller, pending.answer));
        }
        self.waiting.push(pending);
        None
    }

    /// Events up to and including `through` are durable. Returns the answers that can be given, in the order in which the
    /// callers came.
    #[must_use]
    pub fn durable(&mut self, through: Index) -> Vec<(C, Result<Event, E>)> {
        self.durable = self.durable.max(through);
        let (ready, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|pending| pending.rests_on <= self.durable);
        self.waiting = waiting;
        let ready: Vec<Pending<C, E>> = ready;
        ready.into_iter().map(|pending| (pending.caller, pending.answer)).collect()
    }

    /// Nothing after the durable end will be. Everybody who waits gets `why`, whatever the answer would have been.
    #[must_use]
    pub fn failed(&mut self, why: &E) -> Vec<(C, Result<Event, E>)>
    where
        E: Clone,
    {
        self.waiting.drain(..).map(|pending| (pending.caller, Err(why.clone()))).collect()
    }

    /// How many callers wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    type Answers = PendingAnswers<&'static str, &'static str>;

    const COLUMNS: [&str; 4] = ["nobody waits", "event 4 waits", "a refusal waits for 4", "both wait, and event 5"];
    const ROWS: [&str; 8] = [
        "accepted as event 3, a repeat",
        "accepted as event 6",
        "refused after event 3",
        "refused after event 6",
        "durable up to 3",
        "durable up to 4",
        "durable up to 5",
        "not durable: disk full",
    ];

    fn event(index: u64) -> Event {
        Event { index: Index(index), operation: Operation::Add(1), value: 0 }
    }

    fn pending_in(column: &str) -> Answers {
        let mut pending = Answers::new(Index(3));
        if column != COLUMNS[0] && column != COLUMNS[2] {
            assert_eq!(pending.accept(event(4), "A"), None);
        }
        if column == COLUMNS[2] || column == COLUMNS[3] {
            assert_eq!(pending.reject("overflow", Index(4), "B"), None);
        }
        if column == COLUMNS[3] {
            assert_eq!(pending.accept(event(5), "C"), None);
        }
        pending
    }

    fn outcome(column: &str, row: &str) -> String {
        let mut pending = pending_in(column);
        let answers: Vec<_> = match row {
            "accepted as event 3, a repeat" => pending.accept(event(3), "N").into_iter().collect(),
            "accepted as event 6" => pending.accept(event(6), "N").into_iter().collect(),
            "refused after event 3" => pending.reject("overflow", Index(3), "N").into_iter().collect(),
            "refused after event 6" => pending.reject("overflow", Index(6), "N").into_iter().collect(),
            "durable up to 3" => pending.durable(Index(3)),
            "durable up to 4" => pending.durable(Index(4)),
            "durable up to 5" => pending.durable(Index(5)),
            "not durable: disk full" => pending.failed(&"disk full"),
            other => panic!("no input is called {other}"),
        };
        let words = answers.into_iter().map(|(caller, answer)| match answer {
            Ok(event) => format!("{caller} gets event {}", event.index),
            Err(why) => format!("{caller} gets {why}"),
        });
        let words: Vec<String> = words.collect();
        let wait = match pending.len() {
            _ if pending.is_empty() => "nobody waits".to_owned(),
            1 => "1 waits".to_owned(),
            many => format!("{many} wait"),
        };
        if words.is_empty() { wait } else { format!("{}; {wait}", words.join(", ")) }
    }

    #[test]
    fn every_state_and_input_does_what_the_table_says() {
        let mut actual = format!("| input | {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len() + 1));
        for row in ROWS {
            actual += &format!("\n| {row} | {} |", COLUMNS.map(|column| outcome(column, row)).join(" | "));
        }
        let documented: Vec<&str> = include_str!("pending.md").lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(documented.join("\n"), actual, "\nwhat happens:\n{actual}\n");
    }

    #[test]
    fn what_is_durable_stays_durable() {
        let mut pending = Answers::new(Index(3));
        assert_eq!(pending.durable(Index(1)), []);
        assert_eq!(pending.accept(event(3), "A"), Some(("A", Ok(event(3)))));
        assert_eq!(pending.failed(&"disk full"), []);
        assert_eq!(pending.reject("overflow", Index(3), "B"), Some(("B", Err("overflow"))));
    }
}
