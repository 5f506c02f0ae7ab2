//! A leader ends only for a reason: because another one took over, or because its disk failed.

use crate::history::History;

pub(super) fn check(history: &History) -> Vec<String> {
    let unexplained = history.ends.iter().filter(|end| !end.explained);
    unexplained.map(|end| format!("the leader of term {} ended: {}", end.term, end.why)).collect()
}
