//! Terms never go back: along the log, from leader to leader, and as a replica sees them. A replica's index does not go
//! back either, unless the disk forgets or links alter frames.

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for pair in history.terms.windows(2) {
        if pair[1] <= pair[0] {
            found.push(format!("a leader of term {} started after one of term {}", pair[1], pair[0]));
        }
    }
    for pair in history.log.windows(2) {
        let (before, after) = (&pair[0].batch, &pair[1].batch);
        if after.term < before.term {
            found.push(format!("the batch at {} has term {}, after {}", after.first, after.term, before.term));
        }
    }
    for (replica, seen) in history.seen.iter().enumerate() {
        check_replica(history, replica, seen, &mut found);
    }
    found
}

fn check_replica(history: &History, replica: usize, seen: &[Seen], found: &mut Vec<String>) {
    let mut newest_term = None;
    let mut newest_held = None;
    for seen in seen {
        match *seen {
            Seen::Welcomed { log, term } => {
                if let Some((seen_log, seen)) = newest_term
                    && seen_log == log
                    && term < seen
                {
                    found.push(format!("replica {replica} followed a leader of term {term} after {seen}"));
                }
                newest_term = Some((log, term));
            }
            Seen::Started => (newest_term, newest_held) = (None, None),
            Seen::Held { log, position, .. } => {
                if let Some((held_log, held)) = newest_held
                    && held_log == log
                    && position.index < held
                    && !history.nature.forgetful_disk
                    && !history.nature.altering_links
                {
                    found.push(format!("replica {replica} went back from {held} to {}", position.index));
                }
                newest_held = Some((log, position.index));
            }
            _ => {}
        }
    }
}
