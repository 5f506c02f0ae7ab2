//! The calculator's keys, and what a person may type as their number.

use engine::Operation;
use thiserror::Error;

use crate::format;

/// How many characters a key has room for.
const LONGEST: usize = 8;

/// The kinds of operations, each with a key.
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
    /// All kinds, in the order of the keys.
    pub const ALL: [Self; 6] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::SquareRoot, Self::Square];

    /// The kind for programs.
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

    /// The kind with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the key shows that does this with the argument that was typed: `× 6`, or `× n` before there is one, and for one
    /// that is too long for a key.
    #[must_use]
    pub fn shown(self, typed: &str) -> String {
        match self.operation(typed).map(format::operation) {
            Ok(operation) if operation.chars().count() <= LONGEST => operation,
            _ => format!("{} n", self.sign()),
        }
    }

    /// The same for screen readers.
    #[must_use]
    pub fn spoken(self, typed: &str) -> String {
        match self {
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide => {
                let argument = argument(typed).map_or_else(|_| "the number".to_owned(), format::grouped);
                format!("{} {argument}", self.verb())
            }
            Self::SquareRoot | Self::Square => self.verb().to_owned(),
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "−",
            Self::Multiply => "×",
            Self::Divide => "÷",
            Self::SquareRoot => "√",
            Self::Square => "x²",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Subtract => "Subtract",
            Self::Multiply => "Multiply by",
            Self::Divide => "Divide by",
            Self::SquareRoot => "Take the square root",
            Self::Square => "Square",
        }
    }

    /// The operation of this kind with the argument that was typed.
    ///
    /// # Errors
    ///
    /// [`NotAnArgument`] if the kind takes an argument and `typed` is not a whole number of 64 bits.
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

/// The typed text is not an operation's argument.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAnArgument {
    /// Nothing was typed.
    #[error("Type a whole number first.")]
    Missing,
    /// The text is not a number, or a fraction, or too large.
    #[error("“{typed}” is not a whole number between {min} and {max}.", typed = .0, min = format::grouped(i64::MIN), max = format::grouped(i64::MAX))]
    NotWhole(String),
}

/// Signs of a negative number, as keyboards, word processors and other programs write them: hyphens, dashes, and the minus
/// that the page itself writes.
const MINUS: [char; 8] = ['−', '‐', '‑', '‒', '–', '—', '﹣', '－'];

/// Parses what Rust parses, and numbers as the page writes them, so that a shown value can be pasted.
fn argument(typed: &str) -> Result<i64, NotAnArgument> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(NotAnArgument::Missing);
    }
    let not_whole = || NotAnArgument::NotWhole(typed.to_owned());
    let (sign, digits) = match typed.strip_prefix('-').or_else(|| typed.strip_prefix(MINUS)) {
        // The page writes operations with a space there: "− 5".
        Some(digits) => ("-", digits.trim_start()),
        None => ("", typed.strip_prefix('+').unwrap_or(typed).trim_start()),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(not_whole());
    }
    let ungrouped = digits.replace(',', "");
    let number: i64 = format!("{sign}{ungrouped}").parse().map_err(|_| not_whole())?;
    // In many countries a comma starts the fraction, so it may only separate groups of three digits.
    let is_grouped = ungrouped == digits || format::grouped_count(number.unsigned_abs()) == digits;
    if is_grouped { Ok(number) } else { Err(not_whole()) }
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
            // Hyphen-minus, minus, hyphen, non-breaking hyphen, figure dash, en dash, em dash, small and full width.
            ("-5", -5),
            ("\u{2212}5", -5),
            ("\u{2010}5", -5),
            ("\u{2011}5", -5),
            ("\u{2012}5", -5),
            ("\u{2013}5", -5),
            ("\u{2014}5", -5),
            ("\u{fe63}5", -5),
            ("\u{ff0d}5", -5),
            ("− 5", -5),
            ("\u{a0}−1,234\u{a0}", -1_234),
        ] {
            assert_eq!(Kind::Add.operation(typed), Ok(Operation::Add(number)), "{typed:?}");
        }
    }

    #[test]
    fn a_missing_number_and_a_wrong_one_are_different_errors() {
        assert_eq!(Kind::Multiply.operation("  "), Err(NotAnArgument::Missing));
        for typed in
            ["abc", "1.5", "1,5", "12,34", "1e3", "9223372036854775808", "--1", "-+1", "−−1", "-", "−", "5-", "٣"]
        {
            assert_eq!(Kind::Multiply.operation(typed), Err(NotAnArgument::NotWhole(typed.to_owned())), "{typed:?}");
        }
    }

    #[test]
    fn a_root_and_a_square_ignore_what_was_typed() {
        assert_eq!(Kind::SquareRoot.operation("abc"), Ok(Operation::SquareRoot));
        assert_eq!(Kind::Square.operation(""), Ok(Operation::PowerOfTwo));
    }

    #[test]
    fn a_key_shows_what_it_would_do() {
        let shown: Vec<_> = Kind::ALL.into_iter().map(|kind| kind.shown(" -1234 ")).collect();
        assert_eq!(shown, ["+ −1,234", "− −1,234", "× −1,234", "÷ −1,234", "√", "x²"]);
        assert_eq!((Kind::Multiply.shown(""), Kind::Divide.shown("1.5")), ("× n".to_owned(), "÷ n".to_owned()));
        assert_eq!(Kind::Multiply.spoken("7"), "Multiply by 7");
        assert_eq!(Kind::Add.spoken(""), "Add the number");
    }
}
