//! A leader stops only because another one took over or its disk failed. It stops soon after a takeover, even when idle.

use crate::history::History;

pub(super) fn check(history: &History) -> Vec<String> {
    let unexplained = history.ends.iter().filter(|end| !end.explained);
    let unexplained =
        unexplained.map(|end| format!("the leader of term {} stopped without cause: {}", end.term, end.why));
    let lingering =
        history.lingering.iter().map(|term| format!("the leader of term {term} went on after it was replaced"));
    unexplained.chain(lingering).collect()
}
