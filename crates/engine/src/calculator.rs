//! The calculator: one `i64` and six operations on it.

use std::fmt;

use thiserror::Error;

/// An operation on the calculator's value.
///
/// Arguments may be any `i64`; whether an operation is possible depends on the value it meets (see [`apply`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `value + n`
    Add(i64),
    /// `value - n`
    Subtract(i64),
    /// `value * n`
    Multiply(i64),
    /// `value / n`, truncated toward zero
    Divide(i64),
    /// The largest integer whose square is at most `value`, computed exactly (never through a float)
    SquareRoot,
    /// `value * value`
    PowerOfTwo,
}

impl Operation {
    /// A small stable number for each kind, 1 to 6, used in the [digest](crate::digest).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Add(_) => 1,
            Self::Subtract(_) => 2,
            Self::Multiply(_) => 3,
            Self::Divide(_) => 4,
            Self::SquareRoot => 5,
            Self::PowerOfTwo => 6,
        }
    }

    /// The operation with this [`code`](Self::code) and [`argument`](Self::argument); `None` if there is none such.
    #[must_use]
    pub fn from_code(code: u8, argument: Option<i64>) -> Option<Self> {
        Some(match (code, argument) {
            (1, Some(n)) => Self::Add(n),
            (2, Some(n)) => Self::Subtract(n),
            (3, Some(n)) => Self::Multiply(n),
            (4, Some(n)) => Self::Divide(n),
            (5, None) => Self::SquareRoot,
            (6, None) => Self::PowerOfTwo,
            _ => return None,
        })
    }

    /// The kind's name as users and the original demo's protocol write it, such as `ADD` or `SQUARE_ROOT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Subtract(_) => "SUBTRACT",
            Self::Multiply(_) => "MULTIPLY",
            Self::Divide(_) => "DIVIDE",
            Self::SquareRoot => "SQUARE_ROOT",
            Self::PowerOfTwo => "POWER_OF_TWO",
        }
    }

    /// The argument, or `None` for the two operations that take none.
    #[must_use]
    pub fn argument(self) -> Option<i64> {
        match self {
            Self::Add(n) | Self::Subtract(n) | Self::Multiply(n) | Self::Divide(n) => Some(n),
            Self::SquareRoot | Self::PowerOfTwo => None,
        }
    }
}

/// Writes the operation as people read it: `+ 5`, `× -3`, `√`, `x²`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(n) => write!(f, "+ {n}"),
            Self::Subtract(n) => write!(f, "− {n}"),
            Self::Multiply(n) => write!(f, "× {n}"),
            Self::Divide(n) => write!(f, "÷ {n}"),
            Self::SquareRoot => f.write_str("√"),
            Self::PowerOfTwo => f.write_str("x²"),
        }
    }
}

/// Why an operation cannot be applied to a value. A refused operation never enters the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// The result lies outside -2^63 to 2^63 - 1.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The divisor is zero.
    #[error("cannot divide {value} by zero; choose a divisor other than 0")]
    DivisionByZero {
        /// The value that was to be divided.
        value: i64,
    },
    /// The value is negative, so it has no real square root.
    #[error("cannot take the square root of {value}: it is negative; bring the value to 0 or above first")]
    NegativeSquareRoot {
        /// The negative value.
        value: i64,
    },
}

/// The result of `operation` on `value` does not fit into a signed 64-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{value} {operation} overflows: the result lies outside -2^63 to 2^63 - 1")]
pub struct Overflow {
    /// The value before the operation.
    pub value: i64,
    /// The operation that was asked for.
    pub operation: Operation,
}

/// Applies `operation` to `value`.
///
/// # Errors
///
/// A [`Refusal`] when the result would overflow, the divisor is zero, or a negative value's root is asked for.
///
/// ```
/// use engine::{Operation, apply};
///
/// assert_eq!(apply(-7, Operation::Divide(2)), Ok(-3));
/// assert_eq!(apply(99, Operation::SquareRoot), Ok(9));
/// assert!(apply(i64::MIN, Operation::Divide(-1)).is_err());
/// ```
#[inline]
pub fn apply(value: i64, operation: Operation) -> Result<i64, Refusal> {
    let overflow = Refusal::Overflow(Overflow { value, operation });
    match operation {
        Operation::Add(n) => value.checked_add(n).ok_or(overflow),
        Operation::Subtract(n) => value.checked_sub(n).ok_or(overflow),
        Operation::Multiply(n) => value.checked_mul(n).ok_or(overflow),
        Operation::Divide(0) => Err(Refusal::DivisionByZero { value }),
        // The one quotient that does not fit is `i64::MIN / -1`.
        Operation::Divide(n) => value.checked_div(n).ok_or(overflow),
        Operation::SquareRoot => value.checked_isqrt().ok_or(Refusal::NegativeSquareRoot { value }),
        Operation::PowerOfTwo => value.checked_mul(value).ok_or(overflow),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn division_truncates_toward_zero() {
        assert_eq!(apply(7, Operation::Divide(2)), Ok(3));
        assert_eq!(apply(-7, Operation::Divide(2)), Ok(-3));
        assert_eq!(apply(7, Operation::Divide(-2)), Ok(-3));
    }

    #[test]
    fn the_root_is_the_exact_floor_where_a_double_is_not() {
        // One below the largest square that fits; a double rounds its root up.
        let value = 3_037_000_499_i64.pow(2) - 1;
        assert_eq!(apply(value, Operation::SquareRoot), Ok(3_037_000_498));
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let through_a_double = (value as f64).sqrt() as i64;
        assert_eq!(through_a_double, 3_037_000_499, "the original demo's replica would compute this");
    }

    #[test]
    fn a_code_and_an_argument_make_the_operation_again() {
        let all = [Operation::Add(1), Operation::Subtract(-2), Operation::Multiply(3), Operation::Divide(0)];
        for operation in all.into_iter().chain([Operation::SquareRoot, Operation::PowerOfTwo]) {
            assert_eq!(Operation::from_code(operation.code(), operation.argument()), Some(operation));
        }
        for (code, argument) in [(0, None), (1, None), (5, Some(1)), (7, Some(1))] {
            assert_eq!(Operation::from_code(code, argument), None);
        }
    }

    #[test]
    fn names_are_those_of_the_protocols() {
        let names = [1, 2, 3, 4, 5, 6].map(|code| {
            let operation = Operation::from_code(code, Some(1)).or_else(|| Operation::from_code(code, None));
            operation.unwrap().name()
        });
        assert_eq!(names, ["ADD", "SUBTRACT", "MULTIPLY", "DIVIDE", "SQUARE_ROOT", "POWER_OF_TWO"]);
    }

    #[test]
    fn every_refusal_has_its_type() {
        let overflow = |value, operation| Err(Refusal::Overflow(Overflow { value, operation }));
        for (value, operation) in [
            (i64::MAX, Operation::Add(1)),
            (i64::MIN, Operation::Subtract(1)),
            (i64::MIN, Operation::Multiply(-1)),
            (i64::MIN, Operation::Divide(-1)),
            (3_037_000_500, Operation::PowerOfTwo),
        ] {
            assert_eq!(apply(value, operation), overflow(value, operation));
        }
        assert_eq!(apply(5, Operation::Divide(0)), Err(Refusal::DivisionByZero { value: 5 }));
        assert_eq!(apply(-1, Operation::SquareRoot), Err(Refusal::NegativeSquareRoot { value: -1 }));
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_why_not() {
        let refusal = apply(i64::MAX, Operation::Multiply(2)).unwrap_err();
        assert_eq!(refusal.to_string(), "9223372036854775807 × 2 overflows: the result lies outside -2^63 to 2^63 - 1");
    }

    proptest! {
        #[test]
        fn results_agree_with_arithmetic_in_128_bits(value: i64, n: i64) {
            let (wide, m) = (i128::from(value), i128::from(n));
            let cases = [
                (Operation::Add(n), Some(wide + m)),
                (Operation::Subtract(n), Some(wide - m)),
                (Operation::Multiply(n), Some(wide * m)),
                (Operation::Divide(n), (n != 0).then(|| wide / m)),
                (Operation::PowerOfTwo, Some(wide * wide)),
            ];
            for (operation, exact) in cases {
                let expected = exact.and_then(|exact| i64::try_from(exact).ok());
                prop_assert_eq!(apply(value, operation).ok(), expected, "{}", operation);
            }
        }

        #[test]
        fn the_root_is_the_largest_whose_square_fits(value in 0..=i64::MAX) {
            let root = i128::from(apply(value, Operation::SquareRoot).unwrap());
            prop_assert!(root * root <= i128::from(value));
            prop_assert!((root + 1) * (root + 1) > i128::from(value));
        }
    }
}
