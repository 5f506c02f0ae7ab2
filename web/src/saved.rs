//! What a tab saves so that it survives a reload, as text for the browser's session storage.

use std::str::FromStr;

use engine::{Digest, Index, LogId, Operation, Position, ProducerId, Sequence, Snapshot};
use thiserror::Error;
use wire::identity::MAX_BYTES;
use xxhash_rust::xxh3::xxh3_64;

/// The version of the text's form. Tabs that are open hold texts of this version, so a page that changes the form must
/// still read them.
const VERSION: &str = "1";

/// A saved text cannot be used: it was cut off, altered, or is of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what this tab saved is damaged")]
pub struct Damaged;

/// Writes a state as text. Numbers are written in full, never as floats.
#[must_use]
pub fn write_state(state: &Snapshot) -> String {
    let Position { index, digest } = state.position();
    format!("{VERSION} {} {index} {digest} {} {:016x}", state.log(), state.value(), state.checksum())
}

/// Reads a state and verifies its checksum.
///
/// # Errors
///
/// [`Damaged`] if it is not what [`write_state`] wrote.
pub fn read_state(text: &str) -> Result<Snapshot, Damaged> {
    let [version, log, index, digest, value, checksum] = words(text)?;
    if version != VERSION {
        return Err(Damaged);
    }
    let log: LogId = log.parse().map_err(|_| Damaged)?;
    let position = Position { index: Index(index.parse().map_err(|_| Damaged)?), digest: Digest(hex(digest)?) };
    let value = value.parse().map_err(|_| Damaged)?;
    Snapshot::verify(log, position, value, hex(checksum)?).map_err(|_| Damaged)
}

/// A submitted operation whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOperation {
    /// The producer that submitted it.
    pub producer: ProducerId,
    /// Its number among that producer's operations.
    pub sequence: Sequence,
    /// The operation.
    pub operation: Operation,
    /// The leader commits it only if this is the newest event.
    pub expected: Option<Index>,
    /// When it was submitted, in milliseconds since 1970.
    pub since: u64,
    /// The log that the tab held then.
    pub log: Option<LogId>,
}

/// Written in place of an optional field that is not set.
const NONE: &str = "-";

impl SavedOperation {
    /// Writes it as text.
    #[must_use]
    pub fn write(&self) -> String {
        let Self { producer, sequence, operation, expected, since, log } = self;
        let (kind, argument) = match operation {
            Operation::Add(n) => ("add", Some(n)),
            Operation::Subtract(n) => ("subtract", Some(n)),
            Operation::Multiply(n) => ("multiply", Some(n)),
            Operation::Divide(n) => ("divide", Some(n)),
            Operation::SquareRoot => ("square_root", None),
            Operation::PowerOfTwo => ("square", None),
        };
        let argument = argument.map_or(NONE.to_owned(), i64::to_string);
        let expected = expected.map_or(NONE.to_owned(), |index| index.to_string());
        let log = log.map_or(NONE.to_owned(), |log| log.to_string());
        let text = format!("{VERSION} {producer} {sequence} {kind} {argument} {expected} {since} {log}");
        format!("{text} {:016x}", xxh3_64(text.as_bytes()))
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if it is something else.
    pub fn read(text: &str) -> Result<Self, Damaged> {
        let (fields, checksum) = text.rsplit_once(' ').ok_or(Damaged)?;
        let [version, producer, sequence, kind, argument, expected, since, log] = words(fields)?;
        if version != VERSION || hex(checksum)? != xxh3_64(fields.as_bytes()) {
            return Err(Damaged);
        }
        let number = || argument.parse::<i64>().map_err(|_| Damaged);
        let operation = match kind {
            "add" => Operation::Add(number()?),
            "subtract" => Operation::Subtract(number()?),
            "multiply" => Operation::Multiply(number()?),
            "divide" => Operation::Divide(number()?),
            "square_root" => Operation::SquareRoot,
            "square" => Operation::PowerOfTwo,
            _ => return Err(Damaged),
        };
        Ok(Self {
            producer: ProducerId::new(producer).map_err(|_| Damaged)?,
            sequence: Sequence(sequence.parse().map_err(|_| Damaged)?),
            operation,
            expected: optional(expected)?.map(Index),
            since: since.parse().map_err(|_| Damaged)?,
            log: optional(log)?,
        })
    }
}

fn optional<T: FromStr>(text: &str) -> Result<Option<T>, Damaged> {
    (text != NONE).then(|| text.parse().map_err(|_| Damaged)).transpose()
}

/// The identity of a tab, for as long as it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabIdentity {
    /// The replica's id: sixteen random hexadecimal digits.
    pub id: String,
    /// When the tab was first opened, in milliseconds since 1970: the oldest tabs stream first.
    pub opened: u64,
    /// The name that a person gave it; empty if none did.
    given: String,
}

/// Why a text cannot be the name of a replica. The message says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameProblem {
    /// It is empty.
    #[error("Give a name.")]
    Empty,
    /// It has more than [`MAX_BYTES`].
    #[error("The name is too long: at most {MAX_BYTES} bytes.")]
    TooLong,
    /// It has characters that are not seen, or that change how others are seen.
    #[error("The name has characters that are not for reading.")]
    Unreadable,
}

impl TabIdentity {
    /// The identity of a new tab, from random bits.
    #[must_use]
    pub fn new(random: u64, opened: u64) -> Self {
        Self { id: format!("{random:016x}"), opened, given: String::new() }
    }

    /// The same tab with a name that a person gave. White space around it does not count.
    ///
    /// # Errors
    ///
    /// [`NameProblem`] if it cannot be a name.
    pub fn named(&self, name: &str) -> Result<Self, NameProblem> {
        let name = name.trim();
        if name.is_empty() {
            return Err(NameProblem::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(NameProblem::TooLong);
        }
        // Control characters, and those that turn the direction of what follows.
        if name.chars().any(|c| {
            c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        }) {
            return Err(NameProblem::Unreadable);
        }
        Ok(Self { given: name.to_owned(), ..self.clone() })
    }

    /// The replica's name for people: the given one, or one made from the id.
    #[must_use]
    pub fn name(&self) -> String {
        if self.given.is_empty() {
            format!("browser-{}", self.id.get(..4).unwrap_or(&self.id))
        } else {
            self.given.clone()
        }
    }

    /// Writes it as text.
    #[must_use]
    pub fn write(&self) -> String {
        let Self { id, opened, given } = self;
        if given.is_empty() { format!("{VERSION} {id} {opened}") } else { format!("{VERSION} {id} {opened} {given}") }
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if it is something else.
    pub fn read(text: &str) -> Result<Self, Damaged> {
        let mut words = text.splitn(4, ' ');
        let (Some(VERSION), Some(id), Some(opened)) = (words.next(), words.next(), words.next()) else {
            return Err(Damaged);
        };
        hex(id)?;
        let tab = Self { id: id.to_owned(), opened: opened.parse().map_err(|_| Damaged)?, given: String::new() };
        match words.next() {
            None => Ok(tab),
            Some(given) => tab.named(given).ok().filter(|tab| tab.given == given).ok_or(Damaged),
        }
    }
}

fn words<const N: usize>(text: &str) -> Result<[&str; N], Damaged> {
    let words: Vec<&str> = text.split(' ').collect();
    words.try_into().map_err(|_| Damaged)
}

fn hex(text: &str) -> Result<u64, Damaged> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Damaged);
    }
    u64::from_str_radix(text, 16).map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: i64) -> Snapshot {
        Snapshot::take(LogId(0xab), Position { index: Index(12_345), digest: Digest(u64::MAX) }, value)
    }

    #[test]
    fn a_state_survives_its_text_form() {
        for value in [0, -1, i64::MIN, i64::MAX, 9_007_199_254_740_993] {
            assert_eq!(read_state(&write_state(&state(value))), Ok(state(value)));
        }
    }

    #[test]
    fn texts_that_open_tabs_hold_are_still_read() {
        let state = read_state("1 00ff123456789abcdef0112233445566 29 feb777b0c91b5161 -5010795156 690caeb1b7d0469e");
        assert_eq!(state.unwrap().value(), -5_010_795_156);
        let tab = TabIdentity::read("1 1a2b3c4d5e6f7a8b 1790000000000");
        assert_eq!(tab, Ok(TabIdentity::new(0x1a2b_3c4d_5e6f_7a8b, 1_790_000_000_000)));
        let operation = "1 00000000000000000000000000000007 3 divide -4 12 1790000000000 \
                         00ff123456789abcdef0112233445566 18694958e6c65ba2";
        let expected = SavedOperation {
            producer: ProducerId::from_random(7),
            sequence: Sequence(3),
            operation: Operation::Divide(-4),
            expected: Some(Index(12)),
            since: 1_790_000_000_000,
            log: Some(LogId(0x00ff_1234_5678_9abc_def0_1122_3344_5566)),
        };
        assert_eq!(SavedOperation::read(operation), Ok(expected));
    }

    #[test]
    fn a_state_that_was_altered_anywhere_is_refused() {
        let text = write_state(&state(42));
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'7' { b'8' } else { b'7' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(read_state(&altered), Err(Damaged), "{altered}");
        }
    }

    #[test]
    fn a_state_that_is_cut_off_or_garbage_is_refused() {
        let text = write_state(&state(42));
        for end in 0..text.len() {
            assert_eq!(read_state(&text[..end]), Err(Damaged));
        }
        for garbage in ["", "null", "{}", "1 2 3 4 5 6", "\u{1f980} 1 1 1 1 1"] {
            assert_eq!(read_state(garbage), Err(Damaged), "{garbage:?}");
        }
    }

    #[test]
    fn an_operation_survives_its_text_form_and_an_altered_text_is_refused() {
        for operation in [
            Operation::Add(i64::MIN),
            Operation::Subtract(3),
            Operation::Multiply(-1),
            Operation::Divide(i64::MAX),
            Operation::SquareRoot,
            Operation::PowerOfTwo,
        ] {
            for (expected, log) in [(None, None), (Some(Index(7)), Some(LogId(0xab)))] {
                let producer = ProducerId::from_random(5);
                let saved = SavedOperation {
                    producer,
                    sequence: Sequence(9),
                    operation,
                    expected,
                    since: 1_790_000_000_000,
                    log,
                };
                let text = saved.write();
                assert_eq!(SavedOperation::read(&text).as_ref(), Ok(&saved));
                for at in 0..text.len() {
                    assert_eq!(SavedOperation::read(&text[..at]), Err(Damaged));
                    let mut altered = text.clone().into_bytes();
                    altered[at] = if altered[at] == b'7' { b'8' } else { b'7' };
                    assert_eq!(SavedOperation::read(&String::from_utf8(altered).unwrap()), Err(Damaged));
                }
            }
        }
    }

    #[test]
    fn the_identity_of_a_tab_survives_its_text_form() {
        let tab = TabIdentity::new(0x1a2b_0000_0000_0001, 1_790_000_000_000);
        assert_eq!(tab.name(), "browser-1a2b");
        assert_eq!(TabIdentity::read(&tab.write()), Ok(tab.clone()));
        let named = tab.named(" Anna's  tab ").unwrap();
        assert_eq!((named.name().as_str(), &named.id), ("Anna's  tab", &tab.id));
        assert_eq!(TabIdentity::read(&named.write()), Ok(named));
        for garbage in [
            "",
            "1 x 5",
            "1 1a2b000000000001 soon",
            "2 1a2b000000000001 5",
            "1 1a2b000000000001 5 ",
            "1 1a2b000000000001 5  Anna",
            "1 1a2b000000000001 5 \u{7}",
        ] {
            assert_eq!(TabIdentity::read(garbage), Err(Damaged), "{garbage:?}");
        }
    }

    #[test]
    fn a_name_is_readable_and_at_most_64_bytes_long() {
        let tab = TabIdentity::new(1, 2);
        let named = |name: &str| tab.named(name).map(|tab| tab.name());
        assert_eq!(named("\t x "), Ok("x".to_owned()));
        assert_eq!(named(&"ä".repeat(32)), Ok("ä".repeat(32)));
        assert_eq!(named(&format!("{}b", "ä".repeat(32))), Err(NameProblem::TooLong));
        for name in ["", " \n "] {
            assert_eq!(named(name), Err(NameProblem::Empty));
        }
        for name in ["a\nb", "a\u{0}", "\u{202e}evil", "a\u{2028}b"] {
            assert_eq!(named(name), Err(NameProblem::Unreadable), "{name:?}");
        }
    }
}
