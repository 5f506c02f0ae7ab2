//! Keeps one [`engine::Replica`] in step with a leader.
//!
//! [`follow`] is the whole session: it opens the stream, hands frames to the replica, reconnects when the replica says
//! so, reports progress, and tells an [`Observer`] what happened. It is generic over the [`Link`], so a native process,
//! a browser page and a test with a faulty link run the same loop. What differs between native and wasm is the
//! transports `native` and `fetch`, the functions called `connect` in [`grpc`], and the module `timer`.
//!
//! A [`Producer`] goes the other way: it puts operations into the log, each exactly once.

pub mod address;
pub mod arrivals;
pub mod faulty;
#[cfg(target_arch = "wasm32")]
pub mod fetch;
pub mod grpc;
pub mod link;
#[cfg(not(target_arch = "wasm32"))]
mod native;
pub mod observer;
pub mod producer;
mod report;
mod session;
mod timer;

pub use address::{Address, AddressProblem, InvalidAddress};
pub use arrivals::Arrivals;
pub use faulty::{FaultyLink, SharedInjector};
pub use grpc::{Calls, GrpcLink, connect};
pub use link::{Link, LinkError};
pub use observer::Observer;
pub use producer::{Outbox, Producer, Submit};
pub use session::follow;
