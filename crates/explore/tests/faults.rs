//! Each deliberate fault is found.
#![allow(clippy::print_stdout, reason = "the counts are figures that docs/reliability.md quotes")]

use std::time::Duration;

use engine::fault::{self, Fault};
use explore::config::WORLDS;
use explore::{Bound, explore};

/// Each fault must be found within this many states. The slowest one takes a fifth of it.
const STATES: usize = 100_000;

/// A world in which each fault shows.
const SHOWS: [(Fault, &str); 21] = [
    (Fault::SkipGapCheck, "link"),
    (Fault::ApplyDuplicates, "link"),
    (Fault::ApplyInPart, "link"),
    (Fault::SkipDigestCheck, "altering"),
    (Fault::AcceptLowerTerm, "link"),
    (Fault::NeverStale, "link"),
    (Fault::ResumeWithoutDigestCheck, "forgetful"),
    (Fault::ResumeOneTooLate, "link"),
    (Fault::ForgetProducers, "producer"),
    (Fault::AcceptRepeats, "producer"),
    (Fault::AcceptStaleSequence, "producer"),
    (Fault::IgnoreExpectedIndex, "producer"),
    (Fault::KeepRolledBack, "producer"),
    (Fault::AcknowledgeBeforeDurable, "producer"),
    (Fault::PublishBeforeDurable, "producer"),
    (Fault::IgnoreFencing, "producer"),
    (Fault::TrustOldTerm, "link"),
    (Fault::ForgetUnknownOutcome, "producer"),
    (Fault::GoodbyeFirst, "altering"),
    (Fault::AcknowledgeAfterGoodbye, "producer"),
    (Fault::MisplaceAuthors, "producer"),
];

#[test]
fn each_deliberate_fault_is_found() {
    // The search reports panics as broken promises; without this hook each would also print a backtrace.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let world = SHOWS.iter().find(|(shows, _)| *shows == fault).map(|(_, world)| *world);
        let config = WORLDS.iter().find(|config| Some(config.name) == world).unwrap();
        fault::switch(Some(fault));
        let report = explore(config, Bound { failures: 2, states: STATES, time: Duration::MAX });
        fault::switch(None);
        match report.broken {
            Some(broken) => {
                let (name, states, steps) = (config.name, report.states, broken.path.len());
                println!("{fault:?}: {states} states of \"{name}\", {steps} steps: {}", broken.violation.invariant);
            }
            None => missed.push(fault),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found within {STATES} states: {missed:?}");
}
