//! A world in which one seed decides everything: what is submitted, what fails and when, who goes on first.
//!
//! The code in it is the code that ships: the leader's sequencer, the feed and its cursors, the encoded frames, the
//! follower's session loop and its producer, the replica. Simulated are time, the disk, the network, and the leader's
//! restarts. Not in it are SQLite and HTTP, which are tested with real files and real processes.
//!
//! [`run`] makes a world from a seed, lets it suffer, heals it, and judges what everybody saw by the
//! [invariants](invariants::Violation). The same seed gives the same trace, byte for byte.

mod client;
mod disk;
mod executor;
mod history;
pub mod invariants;
mod leader;
mod network;
mod replica;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use engine::fault::{self, Fault};
pub use history::Nature;
pub use invariants::Violation;
use xxhash_rust::xxh3::xxh3_64;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What could go wrong.
    pub nature: Nature,
    /// Everything that happened, a line each.
    pub trace: String,
    /// Which promises were broken.
    pub violations: Vec<Violation>,
    /// Events in the log at the end.
    pub events: u64,
    /// Operations that clients were told are done.
    pub acknowledged: u64,
    /// Leaders that there were.
    pub leaders: u64,
}

impl Report {
    /// A short name for the trace: equal traces have equal names.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(self.trace.as_bytes())
    }
}

/// Runs the world of `seed`, with `fault` in its code if one is given.
#[must_use]
pub fn run(seed: u64, fault: Option<Fault>) -> Report {
    fault::switch(fault);
    let report = catch_unwind(AssertUnwindSafe(|| world::run(seed)));
    fault::switch(None);
    report.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "something panicked".to_owned());
        Report {
            seed,
            nature: Nature { forgetful_disk: false, scrambling_links: false, altering_links: false },
            trace: String::new(),
            violations: vec![Violation { invariant: "nothing panics", what }],
            events: 0,
            acknowledged: 0,
            leaders: 0,
        }
    })
}
