//! A goodbye comes last: a replica that gets it holds everything that was published before, and the leader acknowledges
//! nothing after it.

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for closed in &history.closed {
        let after = history.acknowledged.iter().filter(|(term, index)| *term == closed.term && *index > closed.tail);
        for (term, index) in after {
            found.push(format!(
                "the leader of term {term} said goodbye at {} and acknowledged {index}, which it sent to no replica",
                closed.tail
            ));
        }
    }
    if history.nature.scrambling_links || history.nature.altering_links {
        return found;
    }
    for (replica, seen) in history.seen.iter().enumerate() {
        for seen in seen {
            let Seen::Goodbye { term, held } = *seen else { continue };
            for closed in history.closed.iter().filter(|closed| closed.term == term && closed.tail > held) {
                found.push(format!(
                    "replica {replica} stood at {held} at the goodbye of the leader of term {term}, which had published \
                     up to {}",
                    closed.tail
                ));
            }
        }
    }
    found
}
