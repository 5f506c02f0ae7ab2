//! The contract of a store as a test suite. Every store runs all of it.
//!
//! [`contract!`] makes one test of each property. It takes a function that gives a new, empty place:
//!
//! ```
//! # #[cfg(test)]
//! mod contract {
//!     use store::MemoryStore;
//!     use store::testing::Setup;
//!
//!     store::testing::contract!(|setup: Setup| MemoryStore::bounded(engine::LogId(1), setup.retain, setup.retain_bytes));
//! }
//! ```
//!
//! A place whose directory must outlive it, or in which a second opening needs a nudge, is wrapped in a type that
//! implements [`Store`]. `examples/own_store.rs` has a whole store with its tests.

mod appending;
mod compacting;
mod fencing;
mod model;
mod opening;
mod reading;

pub use appending::*;
pub use compacting::*;
pub use fencing::*;
pub use opening::*;
pub use reading::*;

pub use crate::contract;
use crate::{Opened, Store};

/// What a test needs of a new place.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Keep at least this many of the newest events, as far as `retain_bytes` allows. Delete older ones.
    pub retain: u64,
    /// Keep at most so many bytes of history. A store counts what it really takes, which is more than the frames.
    pub retain_bytes: u64,
    /// For a store that takes snapshots: take one every so many events.
    pub snapshot_every: u64,
}

impl Setup {
    /// Nothing is deleted.
    const LONG: Self = Self { retain: 1_000_000, retain_bytes: u64::MAX, snapshot_every: 7 };
    /// Events are deleted soon.
    const SHORT: Self = Self { retain: 20, retain_bytes: u64::MAX, snapshot_every: 5 };
    /// Events are deleted when they take more than this.
    const SMALL: Self = Self { retain: 1_000_000, retain_bytes: 256 << 10, snapshot_every: 5 };
}

/// Makes a test of each property of the contract: `contract!(make)`, where `make` is a `Fn(Setup) -> impl Store`.
///
/// The tests run under `#[tokio::test]`. Another attribute is the second argument:
/// `contract!(make, #[tokio::test(start_paused = true)])`.
#[macro_export]
macro_rules! contract {
    (@each $($then:tt)*) => {
        $crate::contract! {
            @$($then)*;
            an_empty_place_opens_at_the_beginning
            each_opening_takes_the_next_term
            what_was_committed_is_found_when_opened_again
            producers_are_found_as_of_the_tail
            the_snapshot_is_a_committed_state_and_the_rest_can_be_read
            numbers_of_every_size_are_kept
            a_batch_that_does_not_follow_is_refused_and_changes_nothing
            an_acknowledged_commit_is_read_by_every_reader
            a_probe_changes_nothing
            a_read_starts_at_the_batch_that_holds_the_event
            a_read_gives_what_fits_and_at_least_one_batch
            a_read_beyond_the_tail_gives_nothing
            digests_are_known_where_batches_end
            states_are_known_where_batches_end
            readers_go_on_while_commits_are_made
            compaction_raises_the_floor_and_never_lowers_it
            what_is_compacted_is_named_with_the_floor
            states_below_the_floor_are_gone
            history_stays_within_its_bytes
            the_stricter_of_two_bounds_decides
            a_second_opening_fences_the_first
            nothing_of_a_fenced_commit_is_kept
            an_idle_leader_learns_within_two_seconds_that_it_was_replaced
            a_replaced_leader_goes_on_reading
        }
    };
    (@tests $make:expr, $test:meta; $($property:ident)*) => {
        $(
            #[$test]
            async fn $property() {
                $crate::testing::$property(&$make).await;
            }
        )*
    };
    (@check $make:ident $report:ident; $($property:ident)*) => {
        $(
            $report(stringify!($property));
            $property($make).await;
        )*
    };
    ($make:expr) => { $crate::contract! { @each tests $make, tokio::test } };
    ($make:expr, #[$test:meta]) => { $crate::contract! { @each tests $make, $test } };
}

/// Checks every property in turn, for a program that is not a test. Calls `report` with the name of each before it
/// begins.
///
/// ```
/// use store::MemoryStore;
/// use store::testing::{Setup, check_all};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let make = |setup: Setup| MemoryStore::bounded(engine::LogId(1), setup.retain, setup.retain_bytes);
/// check_all(&make, |property| println!("{property}")).await;
/// # }
/// ```
///
/// # Panics
///
/// The store does not keep the contract.
pub async fn check_all<S: Store>(make: &impl Fn(Setup) -> S, mut report: impl FnMut(&'static str)) {
    contract! { @each check make report }
}

async fn open(place: &impl Store) -> Opened {
    place.open().await.unwrap_or_else(|error| panic!("the place does not open: {error}"))
}
