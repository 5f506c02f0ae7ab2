//! The last operation that a person submitted: pending until its outcome is known, and then the outcome.

use std::time::Duration;

use engine::{Event, Index, Moment, Operation};
use follower::grpc::SubmitError;
use follower::producer::Settled;

use super::status::Tone;
use super::{Model, Now};
use crate::format::{self, TimeOfDay};

/// How long an answer may take before the page says that it is missing.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The last operation that was submitted.
#[derive(Clone, Debug)]
pub(crate) enum LastOperation {
    Pending(Pending),
    Ended(Outcome),
}

/// An operation whose outcome is not known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    operation: Operation,
    /// When it was submitted, to show.
    since: TimeOfDay,
    /// When it was submitted or found after a reload, to measure with.
    began: Moment,
    /// Whether an attempt was not answered.
    in_doubt: bool,
    /// How often the leader was asked since the page was loaded.
    attempts: u32,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed(Committed),
    Refused(String),
    NotDone(String),
    Unknown(String),
}

/// An operation that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    text: String,
    index: Index,
    /// When it was submitted, or found after a reload.
    began: Moment,
    /// How long after that the answer came.
    answered: Duration,
    /// How long after that this tab's replica had applied it, if it has.
    applied: Option<Duration>,
}

/// Why the page stops waiting for a pending operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// The person stopped it.
    ByPerson {
        /// Whether it may be in the log, or get there later.
        may_arrive: bool,
        /// Whether the next operation takes the same number, so that the log takes only one of the two.
        next_settles: bool,
    },
    /// It is certainly not in the log, and the leader does not take it at present.
    NotTaken(SubmitError),
    /// The leader has started a new log.
    NewLog,
}

/// What the page shows of the last operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationStatus {
    /// For programs: `sending`, `pending`, `ok`, `refused`, `failed` (it is not in the log) or `unknown`.
    pub kind: &'static str,
    /// How good it is.
    pub tone: Tone,
    /// The outcome for people; empty while it is being sent.
    pub text: String,
    /// Its way into the log and back: committed, and applied here. Empty where it has not come.
    pub way: [String; 2],
}

impl OperationStatus {
    /// Whether its outcome is not known yet, so that no other can be submitted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.kind, "sending" | "pending")
    }

    /// Whether it waits for an answer so long that the person may ask again or stop.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.kind == "pending"
    }
}

impl Model {
    // What happened.

    /// The person submitted an operation.
    pub fn handle_submitted(&mut self, operation: Operation, now: Now) {
        self.permission.handle_submitted();
        self.last_operation = Some(LastOperation::Pending(Pending {
            operation,
            since: now.time,
            began: now.at,
            in_doubt: false,
            attempts: 0,
        }));
    }

    /// An operation from before a reload has no known outcome.
    pub fn handle_still_pending(&mut self, operation: Operation, since: TimeOfDay, now: Now) {
        self.permission.handle_submitted();
        self.last_operation =
            Some(LastOperation::Pending(Pending { operation, since, began: now.at, in_doubt: true, attempts: 0 }));
    }

    /// The leader is asked.
    pub fn handle_attempt(&mut self) {
        if let Some(LastOperation::Pending(pending)) = &mut self.last_operation {
            pending.attempts += 1;
        }
    }

    /// The replica holds everything up to `index`.
    pub(crate) fn handle_held(&mut self, index: Index, now: Now) {
        if let Some(LastOperation::Ended(Outcome::Committed(committed))) = &mut self.last_operation
            && committed.applied.is_none()
            && committed.index <= index
        {
            committed.applied = Some(now.at.since(committed.began));
        }
    }

    /// An attempt got no answer. It may or may not have reached the leader.
    pub fn handle_doubt(&mut self, now: Now) {
        if let Some(LastOperation::Pending(pending)) = &mut self.last_operation {
            pending.in_doubt = true;
        }
        self.call_unanswered = Some(now.at);
    }

    /// The outcome is known, or it is certain that it never will be.
    pub fn handle_settled(&mut self, settled: Settled, now: Now) {
        match &settled {
            Settled::Done { event, .. } => {
                self.permission.handle_written();
                self.handle_own(event.index);
            }
            Settled::Refused(SubmitError::NotAllowed(why)) | Settled::RefusedForNow(SubmitError::NotAllowed(why)) => {
                let pending = match &self.last_operation {
                    Some(LastOperation::Pending(pending)) => Some(pending.operation),
                    Some(LastOperation::Ended(_)) | None => None,
                };
                self.permission.handle_not_allowed_to_write(*why, pending);
            }
            Settled::Refused(_) | Settled::RefusedForNow(_) | Settled::NotKnown(_) => {}
        }
        self.end(|pending| pending.outcome(settled, now));
        if let Some(held) = self.held() {
            self.handle_held(held.position().index, now);
        }
    }

    /// The page stops waiting for the pending operation.
    pub fn handle_given_up(&mut self, why: GivenUp) {
        self.end(|pending| pending.given_up(why));
    }

    fn end(&mut self, outcome: impl FnOnce(&Pending) -> Outcome) {
        if let Some(LastOperation::Pending(pending)) = &self.last_operation {
            self.last_operation = Some(LastOperation::Ended(outcome(pending)));
        }
    }

    /// The leader has committed an operation that the page had stopped waiting for.
    pub fn handle_abandoned_found(&mut self, index: Index, now: Now) {
        let at = format::grouped_count(index.0);
        let text = format!("An operation that this tab had stopped waiting for was done after all: it is #{at}.");
        self.news.add(text, Tone::Warn, now.time);
    }

    /// What the tab saved of a pending operation is damaged.
    pub fn handle_damaged_operation(&mut self) {
        let text = "What this tab saved about a pending operation is damaged. It may or may not be done: look at the \
                    value before you submit it again.";
        self.last_operation = Some(LastOperation::Ended(Outcome::Unknown(text.to_owned())));
    }

    // What to show.

    /// The last operation and what became of it. It also changes as time passes.
    #[must_use]
    pub fn operation_status(&self, now: Now) -> Option<OperationStatus> {
        let status = |kind, tone, text| OperationStatus { kind, tone, text, way: Default::default() };
        Some(match self.last_operation.as_ref()? {
            LastOperation::Pending(pending) if pending.in_doubt || now.at.since(pending.began) >= PATIENCE => {
                status("pending", Tone::Warn, pending.text())
            }
            LastOperation::Pending(_) => status("sending", Tone::Busy, String::new()),
            LastOperation::Ended(outcome) => match outcome.clone() {
                Outcome::Committed(committed) => {
                    OperationStatus { way: committed.way(), ..status("ok", Tone::Good, committed.text) }
                }
                Outcome::Refused(text) => status("refused", Tone::Bad, text),
                Outcome::NotDone(text) => status("failed", Tone::Warn, text),
                Outcome::Unknown(text) => status("unknown", Tone::Warn, text),
            },
        })
    }
}

impl Committed {
    fn way(&self) -> [String; 2] {
        let committed = format!("committed at {} after {}", format::index(self.index), format::duration(self.answered));
        let applied =
            self.applied.map_or_else(String::new, |after| format!("applied here after {}", format::duration(after)));
        [committed, applied]
    }
}

impl Pending {
    /// The operation and when it was submitted.
    fn named(&self) -> String {
        format!("“{}” of {}", format::operation(self.operation), self.since)
    }

    fn text(&self) -> String {
        format!(
            "Pending since {}: “{}” has no answer yet, so it may or may not be done. This tab keeps asking, also after a \
             reload; it is done once.",
            self.since,
            format::operation(self.operation)
        )
    }

    fn outcome(&self, settled: Settled, now: Now) -> Outcome {
        match settled {
            Settled::Done { event, abandoned } => Outcome::Committed(Committed {
                text: self.committed(event, abandoned),
                index: event.index,
                began: self.began,
                answered: now.at.since(self.began),
                applied: None,
            }),
            Settled::Refused(error) => Outcome::Refused(format!("Refused: {}.", reason(&error))),
            Settled::RefusedForNow(error) => Outcome::Unknown(format!(
                "{} is refused now: {}. An earlier attempt got no answer, so it may still be done.",
                self.named(),
                reason(&error)
            )),
            Settled::NotKnown(SubmitError::Stale(_)) => Outcome::Unknown(format!(
                "{} may or may not be done: a copy of this tab went on with other operations. Look at the value before \
                 you submit it again.",
                self.named()
            )),
            Settled::NotKnown(_) => Outcome::Unknown(format!(
                "Whether {} was done cannot be known any more: the leader has forgotten this tab, because it started a \
                 new log or 10,000 others submitted since. Look at the value before you submit it again.",
                self.named()
            )),
        }
    }

    fn committed(&self, event: Event, abandoned: Option<Operation>) -> String {
        let done = format::committed(event);
        let done = match (self.in_doubt, self.attempts) {
            (false, _) => done,
            (true, 0 | 1) => format!("{done}. Submitted at {}, done once.", self.since),
            (true, attempts) => format!("{done}. Asked {attempts} times since {}, done once.", self.since),
        };
        match abandoned {
            Some(operation) if operation == self.operation => {
                format!("{done} This may be the operation that you stopped waiting for: it was done once, not twice.")
            }
            Some(operation) => {
                let separator = if self.in_doubt { "" } else { "." };
                format!(
                    "{done}{separator} “{}”, which you stopped waiting for, was not done.",
                    format::operation(operation)
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
                    "The next operation settles it: the page then says which of the two was done."
                } else {
                    "Look at the value before you submit it again."
                };
                Outcome::Unknown(format!("Stopped waiting. {} may be done already, or later. {then}", self.named()))
            }
            GivenUp::NotTaken(SubmitError::UnknownProducer(_)) => Outcome::NotDone(format!(
                "Not done: the leader accepts no new producers, which is a fault of the leader. {} is not \
                 in the log.",
                self.named()
            )),
            GivenUp::NotTaken(error @ SubmitError::Busy(_)) => {
                Outcome::NotDone(format!("Not done: the leader is busy ({}). Try again.", reason(&error)))
            }
            GivenUp::NotTaken(error) => Outcome::NotDone(format!("Not done: {}. Try again.", reason(&error))),
            GivenUp::NewLog => Outcome::Unknown(format!(
                "Whether {} was done cannot be known any more: the leader started a new log since. Look at the value \
                 before you submit it again.",
                self.named()
            )),
        }
    }
}

/// The leader's reason, or the transport's in plain words.
fn reason(error: &SubmitError) -> String {
    format::with_groups(&format::broken_link(error.to_string().trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use follower::NotAllowed;

    use super::*;

    const ADD: Operation = Operation::Add(-3);
    const EVENT: Event = Event { index: Index(1_234), operation: ADD, value: -42 };

    fn at(seconds: u32) -> Now {
        Now { at: Moment(Duration::from_secs(seconds.into())), time: TimeOfDay(12 * 3_600 + 180 + seconds) }
    }

    fn pending(in_doubt: bool) -> Model {
        let mut model = Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None);
        model.handle_submitted(ADD, at(4));
        if in_doubt {
            model.handle_doubt(at(9));
        }
        model
    }

    fn shown(model: &Model) -> (&'static str, String) {
        let status = model.operation_status(at(9)).unwrap();
        (status.kind, status.text)
    }

    #[test]
    fn an_operation_without_an_answer_is_pending_and_not_failed() {
        let model = pending(false);
        assert_eq!(model.operation_status(at(4)).unwrap().kind, "sending");
        assert_eq!(model.operation_status(at(6)).unwrap().kind, "pending", "after a moment it says so");
        let model = pending(true);
        let (kind, text) = shown(&model);
        assert_eq!(kind, "pending");
        assert!(text.starts_with("Pending since 12:03:04: “+ −3” has no answer yet"), "{text}");
        assert!(model.operation_status(at(9)).unwrap().is_open());
    }

    #[test]
    fn a_pending_operation_ends_as_done_once() {
        let mut model = pending(false);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None }, at(9));
        assert_eq!(shown(&model), ("ok", "#1,234: + −3 → −42".to_owned()));
        let mut model = pending(true);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None }, at(9));
        assert_eq!(shown(&model), ("ok", "#1,234: + −3 → −42. Submitted at 12:03:04, done once.".to_owned()));
    }

    #[test]
    fn the_way_of_an_operation_leads_into_the_log_and_back_here() {
        let mut model = pending(false);
        for _ in 0..3 {
            model.handle_attempt();
        }
        model.handle_doubt(at(6));
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None }, at(9));
        let status = model.operation_status(at(9)).unwrap();
        assert_eq!(status.way, ["committed at #1,234 after 5.0 s", ""]);
        assert!(status.text.ends_with("Asked 3 times since 12:03:04, done once."), "{}", status.text);
        model.handle_held(Index(1_233), at(9));
        assert_eq!(model.operation_status(at(9)).unwrap().way[1], "");
        model.handle_held(Index(1_240), at(10));
        model.handle_held(Index(1_250), at(12));
        assert_eq!(model.operation_status(at(12)).unwrap().way[1], "applied here after 6.0 s");
        assert!(model.is_own(Index(1_234)) && !model.is_own(Index(1_235)));
    }

    #[test]
    fn the_next_operation_says_what_became_of_an_abandoned_one() {
        let mut model = pending(true);
        model.handle_given_up(GivenUp::ByPerson { may_arrive: true, next_settles: true });
        let (kind, text) = shown(&model);
        assert_eq!(kind, "unknown");
        assert!(text.contains("may be done already, or later. The next operation settles it"), "{text}");
        model.handle_submitted(ADD, at(9));
        model.handle_settled(Settled::Done { event: EVENT, abandoned: Some(Operation::SquareRoot) }, at(9));
        let (kind, text) = shown(&model);
        assert_eq!(
            (kind, text.as_str()),
            ("ok", "#1,234: + −3 → −42. “√”, which you stopped waiting for, was not done.")
        );
        model.handle_submitted(ADD, at(9));
        model.handle_settled(Settled::Done { event: EVENT, abandoned: Some(ADD) }, at(9));
        assert!(shown(&model).1.contains("done once, not twice"));
    }

    #[test]
    fn an_outcome_that_cannot_be_known_any_more_is_said_so() {
        let unknown = || SubmitError::UnknownProducer("this log does not know producer 5".to_owned());
        let mut model = pending(true);
        model.handle_settled(Settled::NotKnown(unknown()), at(9));
        let (kind, text) = shown(&model);
        assert_eq!(kind, "unknown");
        assert!(text.contains("“+ −3” of 12:03:04") && text.contains("cannot be known any more"), "{text}");
        let mut model = pending(true);
        model.handle_given_up(GivenUp::NewLog);
        assert!(shown(&model).1.contains("started a new log since"));
        let mut model = pending(false);
        model.handle_given_up(GivenUp::NotTaken(unknown()));
        assert_eq!(shown(&model).0, "failed");
    }

    #[test]
    fn a_refusal_is_no_failure_and_writes_numbers_as_the_page_does() {
        let refused = || SubmitError::Refused("-9 + -3 overflows".to_owned());
        let mut model = pending(false);
        model.handle_settled(Settled::Refused(refused()), at(9));
        assert_eq!(shown(&model), ("refused", "Refused: −9 + −3 overflows.".to_owned()));
        let mut model = pending(true);
        model.handle_settled(Settled::RefusedForNow(refused()), at(9));
        let (kind, text) = shown(&model);
        assert_eq!(kind, "unknown", "an earlier attempt may still arrive");
        assert!(text.contains("is refused now: −9 + −3 overflows."), "{text}");
    }

    #[test]
    fn an_operation_that_lacked_a_token_can_be_sent_again_until_the_next_one() {
        let refused = || Settled::Refused(SubmitError::NotAllowed(NotAllowed::Missing));
        let mut model = pending(false);
        model.handle_settled(refused(), at(9));
        assert_eq!(shown(&model), ("refused", "Refused: this needs a token.".to_owned()));
        assert_eq!(model.withheld(), Some(ADD));
        model.handle_token(true);
        assert_eq!(model.withheld(), Some(ADD));
        model.handle_submitted(Operation::SquareRoot, at(9));
        assert_eq!(model.withheld(), None);
        model.handle_settled(refused(), at(9));
        assert_eq!(model.withheld(), Some(Operation::SquareRoot));
        assert!(model.question().is_some());
    }

    #[test]
    fn an_answer_that_comes_after_giving_up_is_ignored() {
        let mut model = pending(true);
        model.handle_given_up(GivenUp::ByPerson { may_arrive: true, next_settles: true });
        let before = shown(&model);
        model.handle_settled(Settled::Done { event: EVENT, abandoned: None }, at(9));
        assert_eq!(shown(&model), before);
    }
}
