//! What the leader lets this tab do, as far as its answers tell, and what the person is asked.

use engine::Operation;
use follower::NotAllowed;

use super::Model;

/// What the leader refused for the tab's token.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Permission {
    /// Whether calls show a token.
    has_token: bool,
    /// Why the tab may not read the log.
    reading: Option<NotAllowed>,
    /// Why the tab may not change anything.
    writing: Option<NotAllowed>,
    /// The operation that was refused last, until it or another one is submitted.
    withheld: Option<Operation>,
    /// Whether the person is asked for a token now.
    asks: bool,
    /// Whether nobody need be asked unless a person does something: the person was asked about this token, or it did for a
    /// while.
    keeps_quiet: bool,
}

/// What a person reads who is asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question in short.
    pub title: &'static str,
    /// What the token is for.
    pub text: &'static str,
    /// What is wrong with the token that the tab has; empty if nothing is.
    pub problem: &'static str,
    /// Whether there is a token to forget.
    pub has_token: bool,
}

/// Why a page shows nothing.
pub(crate) const READING: &str = "This leader shows its log only to those who have a token.";
/// What is wrong with a token that is none of the leader's.
pub(crate) const UNKNOWN: &str = "The leader does not know this tab’s token. Check that it is complete.";
const WRITING: &str = "To submit operations and to control the generator, this leader wants a token.";
const BOTH: &str = "This tab shows its token to the leader with every call.";

impl Permission {
    /// Why nothing can be read.
    pub(crate) fn reading(&self) -> Option<NotAllowed> {
        self.reading
    }

    /// The leader lets this tab read.
    pub(crate) fn handle_read(&mut self) {
        if self.reading.take().is_some() {
            // What was asked for is not needed any more.
            self.asks &= self.writing.is_some();
        }
        self.keeps_quiet = true;
    }

    /// A person submits something else, or the same again.
    pub(crate) fn handle_submitted(&mut self) {
        self.withheld = None;
    }

    /// The leader did what a person wanted.
    pub(crate) fn handle_written(&mut self) {
        self.writing = None;
    }

    /// The leader refused what a person wanted: an operation, or something else.
    pub(crate) fn handle_not_allowed_to_write(&mut self, why: NotAllowed, operation: Option<Operation>) {
        self.writing = Some(why);
        self.withheld = operation.or(self.withheld);
        self.asks = true;
    }
}

impl Model {
    // What happened.

    /// Calls show a token from now on, or none.
    pub fn handle_token(&mut self, has_token: bool) {
        let withheld = self.permission.withheld;
        // One that was forgotten on purpose is not asked for at once.
        self.permission = Permission { has_token, withheld, keeps_quiet: !has_token, ..Permission::default() };
    }

    /// The leader did not let the tab read.
    pub fn handle_not_allowed_to_read(&mut self, why: NotAllowed) {
        self.permission.reading = Some(why);
        // A person who only looks on is not interrupted: a banner says it.
        self.permission.asks |= !std::mem::replace(&mut self.permission.keeps_quiet, true);
    }

    /// The person wants to give or change the token, or not now.
    pub fn ask_for_token(&mut self, asks: bool) {
        self.permission.asks = asks;
    }

    // What to show.

    /// Whether the leader let this tab read when it was last asked.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.permission.reading.is_none()
    }

    /// The operation that was refused for the token, until it or another one is submitted.
    #[must_use]
    pub fn withheld(&self) -> Option<Operation> {
        self.permission.withheld
    }

    /// What the person is asked now.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        let Permission { has_token, reading, writing, asks, .. } = self.permission;
        let problem = match reading.or(writing) {
            Some(NotAllowed::Unknown) => UNKNOWN,
            Some(NotAllowed::OnlyReads) => {
                "This tab’s token may only read. To change something, use one that may write."
            }
            Some(NotAllowed::Missing) | None => "",
        };
        let (title, text) = match (reading, writing) {
            (Some(_), _) => ("This leader wants a token", READING),
            (None, Some(_)) => ("This leader wants a token", WRITING),
            (None, None) => ("The token of this tab", BOTH),
        };
        asks.then_some(Question { title, text, problem, has_token })
    }

    /// Whether all is well with the token; `None` where tokens play no role.
    #[must_use]
    pub fn has_right_token(&self) -> Option<bool> {
        let Permission { has_token, reading, writing, .. } = self.permission;
        let is_refused = reading.or(writing).is_some();
        (has_token || is_refused).then_some(!is_refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None)
    }

    #[test]
    fn a_page_that_may_not_read_asks_once_and_again_after_a_wrong_token() {
        let mut model = model();
        assert_eq!((model.question(), model.has_right_token()), (None, None));
        model.handle_not_allowed_to_read(NotAllowed::Missing);
        let question = model.question().unwrap();
        assert_eq!((question.text, question.problem, question.has_token), (READING, "", false));
        model.ask_for_token(false);
        model.handle_not_allowed_to_read(NotAllowed::Missing);
        assert_eq!(model.question(), None, "it retries every few seconds");
        assert_eq!(model.has_right_token(), Some(false));

        model.handle_token(true);
        assert_eq!((model.question(), model.may_read()), (None, true));
        model.handle_not_allowed_to_read(NotAllowed::Unknown);
        assert!(model.question().unwrap().problem.contains("does not know"));
        assert_eq!(model.has_right_token(), Some(false));
    }

    #[test]
    fn a_token_that_did_and_one_that_was_forgotten_are_not_asked_for_unasked() {
        let mut model = model();
        model.handle_token(true);
        model.permission.handle_read();
        assert_eq!(model.has_right_token(), Some(true));
        model.handle_not_allowed_to_read(NotAllowed::Unknown);
        assert_eq!((model.question(), model.may_read()), (None, false));
        model.permission.handle_read();
        model.handle_token(false);
        model.handle_not_allowed_to_read(NotAllowed::Missing);
        assert_eq!(model.question(), None);
        model.ask_for_token(true);
        assert!(model.question().is_some());
    }

    #[test]
    fn a_late_refusal_is_forgotten_when_something_is_read() {
        let mut model = model();
        model.handle_not_allowed_to_read(NotAllowed::Missing);
        model.handle_token(true);
        // Of a call that was on its way.
        model.handle_not_allowed_to_read(NotAllowed::Missing);
        model.permission.handle_read();
        assert_eq!((model.question(), model.may_read()), (None, true));
        model.ask_for_token(true);
        model.permission.handle_read();
        assert!(model.question().is_some(), "a person opened it");
    }

    #[test]
    fn each_refused_action_asks_and_says_what_the_token_lacks() {
        let mut model = model();
        for (why, problem) in [
            (NotAllowed::Missing, ""),
            (NotAllowed::Unknown, "does not know"),
            (NotAllowed::OnlyReads, "may only read"),
        ] {
            model.permission.handle_not_allowed_to_write(why, None);
            let question = model.question().unwrap();
            assert_eq!(question.text, WRITING);
            assert!(question.problem.contains(problem) && question.problem.is_empty() == problem.is_empty(), "{why}");
            model.ask_for_token(false);
        }
        model.handle_token(true);
        model.ask_for_token(true);
        let question = model.question().unwrap();
        assert_eq!((question.text, question.problem, question.has_token), (BOTH, "", true));
    }
}
