//! A simulated world in which one seed decides everything: which operations are submitted, what fails and when, and which
//! task runs next.
//!
//! The world runs the shipped code: the leader's sequencer, the feed and its cursors, the encoded frames, the follower's
//! session loop and producer, and the replica. It simulates time, the disk, the network and restarts. Other tests cover
//! SQLite and HTTP with real files and real processes.
//!
//! [`run`] makes a world from a seed, injects failures, heals them, and checks the
//! [invariants](invariants::BrokenInvariant). The same seed gives the same trace, byte for byte. With the feature `faults`,
//! `run_with_fault` also switches on a deliberate fault in the code, to show that the invariants catch it.

mod clients;
mod disk;
mod env;
mod executor;
mod history;
pub mod invariants;
mod leaders;
mod network;
mod replicas;
mod script;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use history::Nature;
pub use invariants::BrokenInvariant;
use xxhash_rust::xxh3::xxh3_64;

/// The result of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldReport {
    /// The seed.
    pub seed: u64,
    /// Which kinds of fault the world has.
    pub nature: Nature,
    /// Everything that happened, one line each.
    pub trace: String,
    /// The invariants that did not hold.
    pub violations: Vec<BrokenInvariant>,
    /// Events in the log at the end.
    pub events: u64,
    /// Operations that were acknowledged to clients.
    pub acknowledged: u64,
    /// Leaders that opened the log.
    pub leaders: u64,
}

impl WorldReport {
    /// A hash of the trace.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(self.trace.as_bytes())
    }
}

/// Runs the world of `seed`.
#[must_use]
pub fn run(seed: u64) -> WorldReport {
    catch_unwind(AssertUnwindSafe(|| script::run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "panicked without a message".to_owned());
        WorldReport {
            seed,
            nature: Nature { forgetful_disk: false, scrambling_links: false, altering_links: false },
            trace: String::new(),
            violations: vec![BrokenInvariant { invariant: "nothing panics", what }],
            events: 0,
            acknowledged: 0,
            leaders: 0,
        }
    })
}

/// Runs the world of `seed` with `fault` switched on in the code under test.
#[cfg(feature = "faults")]
#[must_use]
pub fn run_with_fault(seed: u64, fault: engine::fault::Fault) -> WorldReport {
    engine::fault::switch(Some(fault));
    let report = run(seed);
    engine::fault::switch(None);
    report
}
