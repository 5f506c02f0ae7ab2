//! What must hold for any bytes from outside. Each kind of bytes has a module, whose `check` panics if it does not hold.
//!
//! | bytes | who sends them | module |
//! |---|---|---|
//! | frames of the stream, bodies of gRPC-Web | a leader, or what a faulty link makes of it | [`frames`] |
//! | requests | clients and replicas | [`requests`] |
//! | pages of history | a leader | [`pages`] |
//! | snapshots | a leader, a browser's session storage | [`snapshots`] |
//! | stored batches | a disk | [`rows`] |
//! | what a page saves | a browser's session storage | [`saved`] |
//!
//! Each input is tried twice: as it is, and as alterations of something valid ([`samples::altered`]), because random bytes
//! hardly ever get past the first field.
//!
//! `cargo test -p fuzz` tries the committed corpus and some thousands of random inputs. With `cargo install cargo-bolero`, a
//! fuzzer searches for more on nightly:
//!
//! ```text
//! CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true cargo bolero test -p fuzz --profile release --toolchain nightly \
//!     -T 2m frames
//! ```
//!
//! It adds what it finds to `tests/frames/corpus`; `cargo bolero reduce` with the same arguments removes inputs that reach
//! nothing new. `cargo run -p fuzz --bin seed_corpus` writes the inputs to begin with.

pub mod frames;
pub mod pages;
pub mod requests;
pub mod rows;
pub mod samples;
pub mod saved;
pub mod snapshots;

/// How many random inputs `cargo test` tries on each target: a second or two for the slowest.
pub const ITERATIONS: usize = 5_000;

/// The longest random input, in bytes.
pub const MAX_LEN: usize = 512;
