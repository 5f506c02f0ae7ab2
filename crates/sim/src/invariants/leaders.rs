//! A leader ends only for a reason, because another one took over or because its disk failed; and it ends soon after another
//! one took over, though nobody asks it for anything.

use crate::history::History;

pub(super) fn check(history: &History) -> Vec<String> {
    let unexplained = history.ends.iter().filter(|end| !end.explained);
    let unexplained = unexplained.map(|end| format!("the leader of term {} ended: {}", end.term, end.why));
    let lingering =
        history.lingering.iter().map(|term| format!("the leader of term {term} led on after it was replaced"));
    unexplained.chain(lingering).collect()
}
