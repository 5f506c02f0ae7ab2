//! The invariants: what must hold in every world. Each has a file.

mod acknowledged;
mod authors;
mod convergence;
mod digests;
mod goodbyes;
mod leaders;
mod prefix;
mod terms;

use crate::history::History;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenInvariant {
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen instead.
    pub what: String,
}

/// Returns a description of each violation.
type Check = fn(&History) -> Vec<String>;

/// Checks a history against all invariants.
pub(crate) fn check(history: &History) -> Vec<BrokenInvariant> {
    let checks: [(&'static str, Check); 8] = [
        ("every replica's history is a prefix of the committed log", prefix::check),
        ("acknowledged means present once, forever", acknowledged::check),
        ("digests agree at equal indexes", digests::check),
        ("terms never go back", terms::check),
        ("after healing, all converge", convergence::check),
        ("a leader stops when it must, and only then", leaders::check),
        ("a goodbye comes last", goodbyes::check),
        ("authors arrive as they were claimed", authors::check),
    ];
    let judge = |(invariant, check): (&'static str, Check)| {
        check(history).into_iter().map(move |what| BrokenInvariant { invariant, what })
    };
    checks.into_iter().flat_map(judge).collect()
}
