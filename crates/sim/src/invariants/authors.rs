//! Authors arrive as they were claimed: each event that a replica applies is by who submitted it, or by the generator.
//!
//! No digest covers authors, so links that alter frames could change them. The injector leaves them alone.

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for (replica, seen) in history.seen.iter().enumerate() {
        for seen in seen {
            if let Seen::WrongAuthor { event, author } = seen {
                found.push(format!("replica {replica} applied {event:?} as if it were by {author}"));
            }
        }
    }
    found
}
