//! Digests agree at equal indexes, and no replica diverges unless a link altered a frame.

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
                // On a forgetful disk, a power cut can give an index a second history.
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
                    found.push(format!("a leader judged replica {replica} as diverged"));
                }
                Seen::ReportedDiverged(position) if !nature.altering_links && !nature.forgetful_disk => {
                    found.push(format!("a leader judged replica {replica}'s report of {position} as diverged"));
                }
                _ => {}
            }
        }
    }
    found
}
