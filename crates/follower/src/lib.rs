//! Keeps one [`engine::Replica`] in step with a leader.
//!
//! [`follow`] is the whole session: it opens the stream, hands frames to the replica, reconnects when the replica asks
//! for it, reports progress, and calls an [`Observer`]. It is generic over the [`Link`], so a native process, a browser
//! page and a test with a [faulty link](FaultyLink) run the same loop.
//!
//! ```no_run
//! use engine::Replica;
//! use engine::replica::Notice;
//! use follower::{Observer, connect, follow};
//! use wire::Identity;
//!
//! struct Printer;
//!
//! impl Observer for Printer {
//!     fn notice(&mut self, _notice: Notice, replica: &Replica) {
//!         println!("{:?} at {}", replica.value(), replica.position());
//!     }
//! }
//!
//! # async fn example() -> Result<(), follower::InvalidAddress> {
//! let link = connect("localhost:8080", Identity::default())?;
//! // The seed spreads the reconnects of many replicas.
//! let seed = std::process::id().into();
//! match follow(Replica::new(seed), link, &mut Printer).await {}
//! # }
//! ```
//!
//! `examples/replica.rs` is a complete program. A [`Producer`] goes the other way: it submits operations, each exactly
//! once.
//!
//! Native and wasm differ only in the transports `native` and `fetch`, the two functions called [`connect_with`], and
//! the module `timer`.

pub mod address;
pub mod arrivals;
pub mod call_error;
pub mod faulty;
#[cfg(target_arch = "wasm32")]
mod fetch;
pub mod freezer;
pub mod grpc;
pub mod grpc_web;
pub mod history;
pub mod link;
#[cfg(not(target_arch = "wasm32"))]
mod native;
pub mod observer;
pub mod producer;
mod report;
mod session;
mod timer;
#[cfg(not(target_arch = "wasm32"))]
pub mod tls;
pub mod token;
mod watch;

pub use address::{Address, AddressProblem, InvalidAddress};
pub use arrivals::Arrivals;
pub use call_error::CallError;
pub use faulty::{FaultyLink, InjectorGuard, SharedInjector};
pub use freezer::Freezer;
pub use grpc::{Calls, GrpcLink, Options, connect, connect_with};
pub use history::ReadError;
pub use link::{Link, LinkError};
pub use observer::Observer;
pub use producer::{Outbox, Producer, Submit};
pub use session::follow;
#[cfg(not(target_arch = "wasm32"))]
pub use tls::{Tls, TlsError};
pub use token::{InvalidToken, NotAllowed, Token};
pub use watch::{ControlError, Rosters, read_roster};
