//! A goodbye is the last word: whoever is told it holds everything that was acknowledged and published before, and nothing is
//! acknowledged after it.

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for closed in &history.closed {
        let after = history.acknowledged.iter().filter(|(term, index)| *term == closed.term && *index > closed.tail);
        for (term, index) in after {
            found.push(format!(
                "the leader of term {term} said goodbye at {} and acknowledged {index}, which no replica got from it",
                closed.tail
            ));
        }
    }
    if history.nature.scrambling_links || history.nature.altering_links {
        return found;
    }
    for (replica, seen) in history.seen.iter().enumerate() {
        for seen in seen {
            let Seen::ToldGoodbye { term, held } = *seen else { continue };
            for closed in history.closed.iter().filter(|closed| closed.term == term && closed.tail > held) {
                found.push(format!(
                    "replica {replica} was told goodbye by the leader of term {term} at {held}, which had published up \
                     to {}",
                    closed.tail
                ));
            }
        }
    }
    found
}
