//! Every replica's history is a prefix of the committed log.
//!
//! On a forgetful disk, a replica may hold events that a power cut took. Once it has caught up with a running leader, it
//! holds what that leader's disk holds.

use engine::{Digest, Event, Index};

use crate::history::{History, Seen};

pub(super) fn check(history: &History) -> Vec<String> {
    let truth = history.truth();
    let excused = history.excused();
    let held = |index: Index, value: i64, digest: Digest| {
        excused.contains(&index) || truth.state(index) == Some((value, digest))
    };
    let applied = |event: Event| excused.contains(&event.index) || truth.event(event.index) == Some(event);

    let mut found = Vec::new();
    for (replica, seen) in history.seen.iter().enumerate() {
        for seen in seen {
            match *seen {
                Seen::Held { position, value, .. } if !held(position.index, value, position.digest) => {
                    found.push(format!("replica {replica} held {value} at {position}; the log differs there"));
                }
                Seen::Applied(event) if !applied(event) => {
                    found.push(format!("replica {replica} applied {event:?}, which is not in the log"));
                }
                Seen::CaughtUp { position, on_disk: false } => {
                    found.push(format!(
                        "replica {replica} called itself live at {position}, where no batch of its leader ends"
                    ));
                }
                _ => {}
            }
        }
    }
    found
}
