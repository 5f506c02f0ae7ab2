//! What a tab keeps over a reload, as text for the browser's session storage.

use std::str::FromStr;

use engine::{Digest, Index, LogId, Operation, Position, ProducerId, Sequence, Snapshot};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Marks the form of the text, so that a later version of the page can change it.
const VERSION: &str = "1";

/// What was kept cannot be used: it was cut off, altered, or is of another version of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what this tab kept is damaged")]
pub struct Damaged;

/// Writes a state as text. Numbers are written in full, never as floats.
#[must_use]
pub fn write_state(state: &Snapshot) -> String {
    let Position { index, digest } = state.position();
    format!("{VERSION} {} {index} {digest} {} {:016x}", state.log(), state.value(), state.checksum())
}

/// Reads a state, whose checksum must fit.
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

/// An operation that was put in and whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutIn {
    /// Under which name it was sent.
    pub producer: ProducerId,
    /// As which of that producer's operations.
    pub sequence: Sequence,
    /// What to do.
    pub operation: Operation,
    /// Do it only if this is the newest event.
    pub expected: Option<Index>,
    /// When it was put in, in milliseconds since 1970.
    pub since: u64,
    /// The log that the tab held then.
    pub log: Option<LogId>,
}

/// What stands for something that is not there.
const NONE: &str = "-";

impl PutIn {
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
        let (said, checksum) = text.rsplit_once(' ').ok_or(Damaged)?;
        let [version, producer, sequence, kind, argument, expected, since, log] = words(said)?;
        if version != VERSION || hex(checksum)? != xxh3_64(said.as_bytes()) {
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

/// Who a tab is, for as long as it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The replica's id: sixteen random hexadecimal digits.
    pub id: String,
    /// When the tab was first opened, in milliseconds since 1970: the oldest tabs stream first.
    pub opened: u64,
}

impl Who {
    /// A new tab's, from random bits.
    #[must_use]
    pub fn new(random: u64, opened: u64) -> Self {
        Self { id: format!("{random:016x}"), opened }
    }

    /// The replica's name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("browser-{}", self.id.get(..4).unwrap_or(&self.id))
    }

    /// Writes it as text.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{VERSION} {} {}", self.id, self.opened)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if it is something else.
    pub fn read(text: &str) -> Result<Self, Damaged> {
        let [version, id, opened] = words(text)?;
        if version != VERSION {
            return Err(Damaged);
        }
        hex(id)?;
        Ok(Self { id: id.to_owned(), opened: opened.parse().map_err(|_| Damaged)? })
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
    fn a_state_that_was_altered_anywhere_is_dropped() {
        let text = write_state(&state(42));
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'7' { b'8' } else { b'7' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(read_state(&altered), Err(Damaged), "{altered}");
        }
    }

    #[test]
    fn what_is_cut_off_or_garbage_is_dropped() {
        let text = write_state(&state(42));
        for end in 0..text.len() {
            assert_eq!(read_state(&text[..end]), Err(Damaged));
        }
        for garbage in ["", "null", "{}", "1 2 3 4 5 6", "\u{1f980} 1 1 1 1 1"] {
            assert_eq!(read_state(garbage), Err(Damaged), "{garbage:?}");
        }
    }

    #[test]
    fn an_operation_without_an_outcome_survives_its_text_form_and_no_alteration() {
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
                let put_in =
                    PutIn { producer, sequence: Sequence(9), operation, expected, since: 1_790_000_000_000, log };
                let text = put_in.write();
                assert_eq!(PutIn::read(&text).as_ref(), Ok(&put_in));
                for at in 0..text.len() {
                    assert_eq!(PutIn::read(&text[..at]), Err(Damaged));
                    let mut altered = text.clone().into_bytes();
                    altered[at] = if altered[at] == b'7' { b'8' } else { b'7' };
                    assert_eq!(PutIn::read(&String::from_utf8(altered).unwrap()), Err(Damaged));
                }
            }
        }
    }

    #[test]
    fn a_tab_stays_who_it_was() {
        let who = Who::new(0x1a2b_0000_0000_0001, 1_790_000_000_000);
        assert_eq!(who.name(), "browser-1a2b");
        assert_eq!(Who::read(&who.write()), Ok(who));
        for garbage in ["", "1 x 5", "1 1a2b000000000001 soon", "2 1a2b000000000001 5"] {
            assert_eq!(Who::read(garbage), Err(Damaged), "{garbage:?}");
        }
    }
}
