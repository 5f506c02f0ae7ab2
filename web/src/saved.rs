//! What a tab keeps over a reload, as text for the browser's session storage.

use engine::{Digest, Index, LogId, Position, Snapshot};
use thiserror::Error;

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
    fn a_tab_stays_who_it_was() {
        let who = Who::new(0x1a2b_0000_0000_0001, 1_790_000_000_000);
        assert_eq!(who.name(), "browser-1a2b");
        assert_eq!(Who::read(&who.write()), Ok(who));
        for garbage in ["", "1 x 5", "1 1a2b000000000001 soon", "2 1a2b000000000001 5"] {
            assert_eq!(Who::read(garbage), Err(Damaged), "{garbage:?}");
        }
    }
}
