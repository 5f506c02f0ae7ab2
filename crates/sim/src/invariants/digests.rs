//! Digests agree at equal indexes, and nobody diverges unless something was altered.

use std::collections::BTreeMap;

use engine::{Digest, Index, LogId};

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let nature = history.nature;
    let mut found = Vec::new();
    let mut digests = BTreeMap::<(LogId, Index), (Digest, i64, usize)>::new();
    for (replica, seen) in history.seen.iter().enumerate() {
        for seen in seen {
            match *seen {
                // A forgetful disk's log has two histories after a power cut.
                Seen::Held { log, position, value, .. } if !nature.forgetful_disk => {
                    let first = *digests.entry((log, position.index)).or_insert((position.digest, value, replica));
                    if (first.0, first.1) != (position.digest, value) {
                        let (digest, other, by) = first;
                        found.push(format!(
                            "at {}, replica {replica} holds {value} ({}) and replica {by} {other} ({digest})",
                            position.index, position.digest
                        ));
                    }
                }
                Seen::Diverged { by_digest: true } if !nature.altering_links => {
                    found.push(format!("replica {replica} computed another digest than the leader"));
                }
                Seen::Diverged { by_digest: false } if !nature.altering_links && !nature.forgetful_disk => {
                    found.push(format!("replica {replica} was told that it diverged"));
                }
                Seen::ReportedDiverged(position) if !nature.altering_links && !nature.forgetful_disk => {
                    found.push(format!("replica {replica} reported {position} and was told that it diverged"));
                }
                _ => {}
            }
        }
    }
    found
}
