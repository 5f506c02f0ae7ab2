//! What a page saved before a reload, as it reads it afterwards.

use engine::{Index, Operation, ProducerId, Sequence};
use web::saved::{SavedOperation, TabIdentity, read_state, write_state};

use crate::samples;

/// Any text, and valid texts that were altered.
///
/// # Panics
///
/// If what was read does not survive being written again, or an altered text is read as something else.
pub fn check(input: &[u8]) {
    read(input);
    let state = samples::tail();
    let altered = samples::altered(write_state(&state).as_bytes(), input);
    let believed = str::from_utf8(&altered).ok().and_then(|text| read_state(text).ok());
    // A single alteration. Leading zeros and capital digits mean the same state.
    if input.len() < 8
        && let Some(believed) = believed
    {
        assert_eq!(believed, state);
    }
    read(&altered);
    read(&samples::altered(tab().write().as_bytes(), input));
    read(&samples::altered(operation().write().as_bytes(), input));
}

/// The identity of a tab.
#[must_use]
pub fn tab() -> TabIdentity {
    TabIdentity::new(0x1a2b_3c4d_5e6f_7a8b, 1_790_000_000_000)
}

/// An operation whose outcome is not known.
#[must_use]
pub fn operation() -> SavedOperation {
    SavedOperation {
        producer: ProducerId::from_random(7),
        sequence: Sequence(3),
        operation: Operation::Divide(-4),
        expected: Some(Index(12)),
        since: 1_790_000_000_000,
        log: Some(samples::LOG),
    }
}

fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(state) = read_state(text) {
        assert_eq!(read_state(&write_state(&state)), Ok(state));
    }
    if let Ok(tab) = TabIdentity::read(text) {
        assert!((1..=64).contains(&tab.name().len()));
        assert_eq!(TabIdentity::read(&tab.write()), Ok(tab));
    }
    if let Ok(operation) = SavedOperation::read(text) {
        assert_eq!(SavedOperation::read(&operation.write()), Ok(operation));
    }
}
