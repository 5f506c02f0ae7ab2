//! What a page keeps over a reload, as it finds it again.

use crate::samples;
use crate::saved::{Who, read_state, write_state};

/// Any text, and a state and a tab's identity that were altered.
///
/// # Panics
///
/// If what was read does not survive being written again, or one alteration makes another state.
pub fn check(input: &[u8]) {
    read(input);
    let state = samples::tail();
    let altered = samples::altered(write_state(&state).as_bytes(), input);
    let believed = str::from_utf8(&altered).ok().and_then(|text| read_state(text).ok());
    if input.len() < 8
        && let Some(believed) = believed
    {
        // Zeros in front and capital digits say the same.
        assert_eq!(believed, state);
    }
    read(&altered);
    read(&samples::altered(who().write().as_bytes(), input));
}

/// A tab.
#[must_use]
pub fn who() -> Who {
    Who::new(0x1a2b_3c4d_5e6f_7a8b, 1_790_000_000_000)
}

fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(state) = read_state(text) {
        assert_eq!(read_state(&write_state(&state)), Ok(state));
    }
    if let Ok(who) = Who::read(text) {
        assert!(who.name().starts_with("browser-"));
        assert_eq!(Who::read(&who.write()), Ok(who));
    }
}
