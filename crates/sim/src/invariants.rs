//! What must be true whatever happens: one file for each.

mod acknowledged;
mod convergence;
mod digests;
mod goodbyes;
mod leaders;
mod prefix;
mod terms;

use crate::history::History;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenInvariant {
    /// Which promise.
    pub invariant: &'static str,
    /// How.
    pub what: String,
}

/// Tells how a promise was broken, each time that it was.
type Check = fn(&History) -> Vec<String>;

/// Judges everything that was seen.
pub(crate) fn check(history: &History) -> Vec<BrokenInvariant> {
    let checks: [(&'static str, Check); 7] = [
        ("every replica's history is a prefix of the committed log", prefix::check),
        ("acknowledged means present once, forever", acknowledged::check),
        ("digests agree at equal indexes", digests::check),
        ("terms never go back", terms::check),
        ("after healing, all converge", convergence::check),
        ("a leader ends only for a reason, and when it is replaced", leaders::check),
        ("a goodbye is the last word", goodbyes::check),
    ];
    let judge = |(invariant, check): (&'static str, Check)| {
        check(history).into_iter().map(move |what| BrokenInvariant { invariant, what })
    };
    checks.into_iter().flat_map(judge).collect()
}
