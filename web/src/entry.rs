//! What a person may type into the form, and what becomes of it.

use engine::{Event, Operation};
use follower::grpc::SubmitError;
use thiserror::Error;

use crate::words;

/// The kinds of operations that the form offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// See [`Operation::Add`].
    #[default]
    Add,
    /// See [`Operation::Subtract`].
    Subtract,
    /// See [`Operation::Multiply`].
    Multiply,
    /// See [`Operation::Divide`].
    Divide,
    /// See [`Operation::SquareRoot`].
    SquareRoot,
    /// See [`Operation::PowerOfTwo`].
    Square,
}

impl Kind {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 6] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::SquareRoot, Self::Square];

    /// The kind as a program writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::SquareRoot => "square_root",
            Self::Square => "square",
        }
    }

    /// The kind as a person reads it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Add => "+  add",
            Self::Subtract => "−  subtract",
            Self::Multiply => "×  multiply by",
            Self::Divide => "÷  divide by",
            Self::SquareRoot => "√  square root",
            Self::Square => "x²  square",
        }
    }

    /// The kind with this [`name`](Self::name).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it needs a number beside the calculator's value.
    #[must_use]
    pub fn takes_argument(self) -> bool {
        !matches!(self, Self::SquareRoot | Self::Square)
    }

    /// The operation of this kind with what was typed as its argument.
    ///
    /// # Errors
    ///
    /// [`NotAnArgument`] if one is needed and `typed` is not a whole number that fits.
    pub fn operation(self, typed: &str) -> Result<Operation, NotAnArgument> {
        Ok(match self {
            Self::Add => Operation::Add(argument(typed)?),
            Self::Subtract => Operation::Subtract(argument(typed)?),
            Self::Multiply => Operation::Multiply(argument(typed)?),
            Self::Divide => Operation::Divide(argument(typed)?),
            Self::SquareRoot => Operation::SquareRoot,
            Self::Square => Operation::PowerOfTwo,
        })
    }
}

/// What was typed cannot be an operation's argument.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAnArgument {
    /// Nothing was typed.
    #[error("Type a whole number first.")]
    Missing,
    /// Not a number, a fraction, or too large.
    #[error("“{0}” is not a whole number between −9223372036854775808 and 9223372036854775807.")]
    NotWhole(String),
}

/// Takes what Rust takes, and a number as the page itself writes it, so that a shown value can be pasted.
fn argument(typed: &str) -> Result<i64, NotAnArgument> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(NotAnArgument::Missing);
    }
    let plain = typed.replace('−', "-");
    let ungrouped = plain.replace(',', "");
    ungrouped
        .parse()
        .ok()
        // Elsewhere a comma starts the fraction: only whole groups of three are taken for groups.
        .filter(|number| ungrouped == plain || words::grouped(*number).replace('−', "-") == plain)
        .ok_or_else(|| NotAnArgument::NotWhole(typed.to_owned()))
}

/// What became of the operation that was put in last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Committed(Event),
    /// It is not in the log, and why.
    Refused(String),
    /// What became of it is not known, or it should be tried again.
    Failed(String),
}

impl Outcome {
    /// The outcome as a program writes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Committed(_) => "ok",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// The outcome as a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Committed(event) => words::committed(*event),
            Self::Refused(why) | Self::Failed(why) => why.clone(),
        }
    }
}

impl From<NotAnArgument> for Outcome {
    fn from(error: NotAnArgument) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<Result<Event, SubmitError>> for Outcome {
    fn from(answer: Result<Event, SubmitError>) -> Self {
        match answer {
            Ok(event) => Self::Committed(event),
            Err(SubmitError::Refused(why)) => Self::Refused(format!("Refused: {why}.")),
            Err(SubmitError::Busy(why)) => Self::Failed(format!("The leader is busy: {why}. Try again.")),
            Err(SubmitError::NotCommitted(why)) => Self::Failed(format!("Not done: {why}.")),
            Err(
                error @ (SubmitError::Mismatch { .. }
                | SubmitError::Stale(_)
                | SubmitError::Reused { .. }
                | SubmitError::UnknownProducer(_)
                | SubmitError::Unsettled),
            ) => Self::Failed(format!("Not done: {error}.")),
            Err(error @ (SubmitError::NoAnswer | SubmitError::Failed(_))) => Self::Failed(format!("Failed: {error}.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_64_bit_number_is_an_argument() {
        for (typed, number) in [
            ("5", 5),
            (" -7 ", -7),
            ("+7", 7),
            ("−12", -12),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("−9,223,372,036,854,775,808", i64::MIN),
            ("1,234", 1_234),
        ] {
            assert_eq!(Kind::Add.operation(typed), Ok(Operation::Add(number)), "{typed:?}");
        }
    }

    #[test]
    fn what_is_no_whole_number_that_fits_is_told_apart_from_nothing() {
        assert_eq!(Kind::Multiply.operation("  "), Err(NotAnArgument::Missing));
        for typed in ["abc", "1.5", "1,5", "12,34", "1e3", "9223372036854775808", "--1", "٣"] {
            assert_eq!(Kind::Multiply.operation(typed), Err(NotAnArgument::NotWhole(typed.to_owned())), "{typed:?}");
        }
    }

    #[test]
    fn a_root_and_a_square_ignore_what_was_typed() {
        assert_eq!(Kind::SquareRoot.operation("abc"), Ok(Operation::SquareRoot));
        assert_eq!(Kind::Square.operation(""), Ok(Operation::PowerOfTwo));
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::by_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::by_name("modulo"), None);
    }

    #[test]
    fn a_refusal_is_no_failure() {
        let refused = Outcome::from(Err(SubmitError::Refused("cannot divide 3 by zero".to_owned())));
        assert_eq!((refused.name(), refused.text().as_str()), ("refused", "Refused: cannot divide 3 by zero."));
        assert_eq!(Outcome::from(Err(SubmitError::NoAnswer)).name(), "failed");
        assert_eq!(Outcome::from(Err(SubmitError::Busy("full".to_owned()))).name(), "failed");
    }
}
