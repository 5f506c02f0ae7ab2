//! The operation that a person put in: pending until its outcome is known, and then the outcome.

use std::time::Duration;

use engine::{Event, Index, Moment, Operation};
use follower::grpc::SubmitError;
use follower::producer::Settled;

use super::status::Tone;
use super::{Model, Now};
use crate::words::{self, TimeOfDay};

/// How long an answer may take before the page says that there is none yet.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The operation that was put in last.
#[derive(Clone, Debug)]
pub(crate) enum PutIn {
    Pending(Pending),
    Ended(Outcome),
}

/// An operation whose outcome is not known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    operation: Operation,
    /// When it was put in.
    since: TimeOfDay,
    began: Moment,
    /// Whether an attempt was not answered.
    in_doubt: bool,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed(String),
    Refused(String),
    NotDone(String),
    Unknown(String),
}

/// Why a pending operation is waited for no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// The person said so.
    ByPerson {
        /// Whether it may be in the log, or arrive there later.
        may_arrive: bool,
        /// Whether the next operation that is put in takes the same number, so that only one of them can be done.
        next_settles: bool,
    },
    /// It is not in the log for sure, and the leader does not take it at present.
    NotTaken(SubmitError),
    /// The leader started a new log since.
    NewLog,
}

/// What the page says about the operation that was put in last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// As a program writes it: `sending`, `pending`, `ok`, `refused`, `failed` (it is not in the log) or `unknown`.
    pub kind: &'static str,
    /// How good it is.
    pub tone: Tone,
    /// What became of it; empty while it is being sent.
    pub text: String,
}

impl Told {
    /// Whether its outcome is not known yet, so that nothing else can be put in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.kind, "sending" | "pending")
    }

    /// Whether the person can do something about it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.kind == "pending"
    }
}

impl Model {
    // What happened.

    /// An operation was put in.
    pub fn handle_put_in(&mut self, operation: Operation, now: Now) {
        self.put_in = Some(PutIn::Pending(Pending { operation, since: now.time, began: now.at, in_doubt: false }));
    }

    /// An operation that was put in before the page was loaded has no known outcome.
    pub fn handle_still_pending(&mut self, operation: Operation, since: TimeOfDay, now: Now) {
        self.put_in = Some(PutIn::Pending(Pending { operation, since, began: now.at, in_doubt: true }));
    }

    /// An attempt was not answered. It may or may not have arrived.
    pub fn handle_doubt(&mut self, now: Now) {
        if let Some(PutIn::Pending(pending)) = &mut self.put_in {
            pending.in_doubt = true;
        }
        self.call_unanswered = Some(now.at);
    }

    /// The outcome is known, or cannot be known any more.
    pub fn handle_settled(&mut self, settled: Settled) {
        self.end(|pending| pending.outcome(settled));
    }

    /// What is pending is waited for no more.
    pub fn handle_given_up(&mut self, why: GivenUp) {
        self.end(|pending| pending.given_up(why));
    }

    fn end(&mut self, outcome: impl FnOnce(&Pending) -> Outcome) {
        if let Some(PutIn::Pending(pending)) = &self.put_in {
            self.put_in = Some(PutIn::Ended(outcome(pending)));
        }
    }

    /// The leader has an operation that was waited for no more.
    pub fn handle_found(&mut self, index: Index, now: Now) {
        let at = words::grouped_count(index.0);
        let text = format!("An operation of this tab that was waited for no more was done after all: it is #{at}.");
        self.news.tell(text, Tone::Warn, now.time);
    }

    /// What the tab kept of a pending operation is damaged.
    pub fn handle_lost_put_in(&mut self) {
        let text = "What this tab kept about an operation without an answer was damaged. Whether it was done is not \
                    known: look at the value before you put it in again.";
        self.put_in = Some(PutIn::Ended(Outcome::Unknown(text.to_owned())));
    }

    // What to show.

    /// What became of the operation that was put in last. It also changes as time passes.
    #[must_use]
    pub fn put_in(&self, now: Now) -> Option<Told> {
        Some(match self.put_in.as_ref()? {
            PutIn::Pending(pending) if pending.in_doubt || now.at.since(pending.began) >= PATIENCE => {
                Told { kind: "pending", tone: Tone::Warn, text: pending.text() }
            }
            PutIn::Pending(_) => Told { kind: "sending", tone: Tone::Busy, text: String::new() },
            PutIn::Ended(outcome) => match outcome.clone() {
                Outcome::Committed(text) => Told { kind: "ok", tone: Tone::Good, text },
                Outcome::Refused(text) => Told { kind: "refused", tone: Tone::Bad, text },
                Outcome::NotDone(text) => Told { kind: "failed", tone: Tone::Warn, text },
                Outcome::Unknown(text) => Told { kind: "unknown", tone: Tone::Warn, text },
            },
        })
    }
}

impl Pending {
    /// The operation and when it was put in.
    fn named(&self) -> String {
        format!("“{}” of {}", words::operation(self.operation), self.since)
    }

    fn text(&self) -> String {
        format!(
            "Pending since {}: “{}” has no answer yet, so it may or may not be done. This tab keeps asking, also after a \
             reload. However often it asks, it is done once.",
            self.since,
            words::operation(self.operation)
        )
    }

    fn outcome(&self, settled: Settled) -> Outcome {
        match settled {
            Settled::Done { event, abandoned } => Outcome::Committed(self.committed(event, abandoned)),
            Settled::Refused(error) => Outcome::Refused(format!("Refused: {}.", told(&error))),
            Settled::RefusedForNow(error) => Outcome::Unknown(format!(
                "{} is refused now: {}. An earlier attempt got no answer; if it is still on its way, it may yet be done.",
                self.named(),
                told(&error)
            )),
            Settled::NotKnown(SubmitError::Stale(_)) => Outcome::Unknown(format!(
                "Whether {} was done is not known to this tab: a copy of the tab went on with other operations. Look at \
                 the value before you put it in again.",
                self.named()
            )),
            Settled::NotKnown(_) => Outcome::Unknown(format!(
                "Whether {} was done cannot be known any more: the leader has forgotten this tab, because it started a \
                 new log or heard of 10,000 others since. Look at the value before you put it in again.",
                self.named()
            )),
        }
    }

    fn committed(&self, event: Event, abandoned: Option<Operation>) -> String {
        let done = words::committed(event);
        let done = if self.in_doubt { format!("{done}. Put in at {}, done once.", self.since) } else { done };
        match abandoned {
            Some(operation) if operation == self.operation => {
                format!("{done} This may be the one that was waited for no more: it was done once, not twice.")
            }
            Some(operation) => {
                let separator = if self.in_doubt { "" } else { "." };
                format!(
                    "{done}{separator} “{}”, which was waited for no more, was not done.",
                    words::operation(operation)
                )
            }
            None => done,
        }
    }

    fn given_up(&self, why: GivenUp) -> Outcome {
        match why {
            GivenUp::ByPerson { may_arrive: false, .. } => {
                Outcome::NotDone(format!("Stopped: {} is not in the log.", self.named()))
            }
            GivenUp::ByPerson { next_settles, .. } => {
                let then = if next_settles {
                    "What you put in next settles it: the page then says which of the two was done."
                } else {
                    "Look at the value before you put it in again."
                };
                Outcome::Unknown(format!(
                    "Not waiting any more. {} may be done already, or later. {then}",
                    self.named()
                ))
            }
            GivenUp::NotTaken(SubmitError::UnknownProducer(_)) => Outcome::NotDone(format!(
                "Not done: the leader takes no operations from new producers, which is an error of the leader. {} is not \
                 in the log.",
                self.named()
            )),
            GivenUp::NotTaken(error @ SubmitError::Busy(_)) => {
                Outcome::NotDone(format!("Not done: the leader is busy ({}). Try again.", told(&error)))
            }
            GivenUp::NotTaken(error) => Outcome::NotDone(format!("Not done: {}. Try again.", told(&error))),
            GivenUp::NewLog => Outcome::Unknown(format!(
                "Whether {} was done cannot be known any more: the leader started a new log since. Look at the value \
                 before you put it in again.",
                self.named()
            )),
        }
    }
}

/// The leader's words, or plain ones for those of a transport.
fn told(error: &SubmitError) -> String {
    words::broken_link(error.to_string().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Operation = Operation::Add(-3);
    const EVENT: Event = Event { index: Index(1_234), operation: ADD, value: -42 };

    fn at(seconds: u32) -> Now {
        Now { at: Moment(Duration::from_secs(seconds.into())), time: TimeOfDay(12 * 3_600 + 180 + seconds) }
    }

    fn pending(in_doubt: bool) -> Model {
        let mut model = Model::new("browser-1a2b".to_owned(), None);
        model.handle_put_in(ADD, at(4));
        if in_doubt {
            model.handle_doubt(at(9));
        }
        model
    }

    fn told(model: &Model) -> (&'static str, String) {
        let told = model.put_in(at(9)).unwrap();
        (told.kind, told.text)
    }

    #[test]
    fn an_operation_without_an_answer_is_pending_and_not_failed() {
        let model = pending(false);
        assert_eq!(model.put_in(at(4)).unwrap().kind, "sending");
        assert_eq!(model.put_in(at(6)).unwrap().kind, "pending", "after a moment it says so");
        let model = pending(true);
        let (kind, text) = told(&model);
        assert_eq!(kind, "pending");
        assert!(text.starts_with("Pending since 12:03:04: “+ −3” has no answer yet"), "{text}");
        assert!(model.put_in(at(9)).unwrap().is_open());
    }

    #[test]
    fn what_was_pending_is_told_as_done_once() {
        let mut model = pending(false);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None });
        assert_eq!(told(&model), ("ok", "#1,234: + −3 → −42".to_owned()));
        let mut model = pending(true);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None });
        assert_eq!(told(&model), ("ok", "#1,234: + −3 → −42. Put in at 12:03:04, done once.".to_owned()));
    }

    #[test]
    fn what_was_given_up_is_told_by_the_next_one() {
        let mut model = pending(true);
        model.handle_given_up(GivenUp::ByPerson { may_arrive: true, next_settles: true });
        let (kind, text) = told(&model);
        assert_eq!(kind, "unknown");
        assert!(text.contains("may be done already, or later. What you put in next settles it"), "{text}");
        model.handle_put_in(ADD, at(9));
        model.handle_settled(Settled::Done { event: EVENT, abandoned: Some(Operation::SquareRoot) });
        let (kind, text) = told(&model);
        assert_eq!(
            (kind, text.as_str()),
            ("ok", "#1,234: + −3 → −42. “√”, which was waited for no more, was not done.")
        );
        model.handle_put_in(ADD, at(9));
        model.handle_settled(Settled::Done { event: EVENT, abandoned: Some(ADD) });
        assert!(told(&model).1.contains("done once, not twice"));
    }

    #[test]
    fn what_cannot_be_known_any_more_is_said() {
        let unknown = || SubmitError::UnknownProducer("this log does not know producer 5".to_owned());
        let mut model = pending(true);
        model.handle_settled(Settled::NotKnown(unknown()));
        let (kind, text) = told(&model);
        assert_eq!(kind, "unknown");
        assert!(text.contains("“+ −3” of 12:03:04") && text.contains("cannot be known any more"), "{text}");
        let mut model = pending(true);
        model.handle_given_up(GivenUp::NewLog);
        assert!(told(&model).1.contains("started a new log since"));
        let mut model = pending(false);
        model.handle_given_up(GivenUp::NotTaken(unknown()));
        assert_eq!(told(&model).0, "failed");
    }

    #[test]
    fn a_refusal_is_no_failure_and_its_numbers_are_written_as_the_pages() {
        let refused = || SubmitError::Refused("-9 + -3 overflows".to_owned());
        let mut model = pending(false);
        model.handle_settled(Settled::Refused(refused()));
        assert_eq!(told(&model), ("refused", "Refused: −9 + −3 overflows.".to_owned()));
        let mut model = pending(true);
        model.handle_settled(Settled::RefusedForNow(refused()));
        let (kind, text) = told(&model);
        assert_eq!(kind, "unknown", "an earlier attempt may still arrive");
        assert!(text.contains("is refused now: −9 + −3 overflows."), "{text}");
    }

    #[test]
    fn an_answer_that_comes_after_giving_up_is_ignored() {
        let mut model = pending(true);
        model.handle_given_up(GivenUp::ByPerson { may_arrive: true, next_settles: true });
        let before = told(&model);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None });
        assert_eq!(told(&model), before);
    }
}
