//! After healing, every replica is live and holds what the leader holds, no client waits for an answer, and the leader
//! commits operations.

use engine::replica::State;

use crate::history::History;

pub(super) fn check(history: &History) -> Vec<String> {
    let Some(healed) = &history.healed else { return vec!["the world did not finish".to_owned()] };
    let mut found = Vec::new();
    for (replica, (state, held)) in healed.replicas.iter().enumerate() {
        if *state != State::Live || *held != Some(healed.tail) {
            let held = held.map_or_else(|| "nothing".to_owned(), |held| held.position().to_string());
            let tail = healed.tail.position();
            found.push(format!("replica {replica} is {} and holds {held}; the leader holds {tail}", state.name()));
        }
    }
    if !healed.takes_operations {
        found.push("no leader commits operations".to_owned());
    }
    if healed.waiting > 0 {
        found.push(format!("{} clients still wait for an answer", healed.waiting));
    }
    found
}
