//! The calculator and both halves of its replication protocol.
//!
//! Everything here is a deterministic function of its arguments. The crate opens no socket, reads no clock, draws no
//! random number and starts no thread. Time is an argument ([`Moment`]), randomness a seed, frames are values. So the same
//! replica runs in a native process, in a browser and in a simulation, and a run replays from its seed.
//!
//! A leader's sequencer and a replica, without anything in between:
//!
//! ```
//! use engine::leader::Sequencer;
//! use engine::replica::State;
//! use engine::{
//!     Durability, Frame, LogId, Moment, Operation, Position, Replica, Snapshot, StreamId, Term, Timestamp, Verdict, Welcome,
//! };
//! use std::time::Duration;
//!
//! let log = LogId(7);
//! let nothing = Snapshot::take(log, Position::origin(log), 0);
//! let mut sequencer = Sequencer::new(Term(1), nothing, []);
//! let mut replica = Replica::restore(1, nothing);
//!
//! // The replica asks for the stream; the leader welcomes it.
//! let now = Moment(Duration::from_secs(1));
//! replica.handle_timeout(now);
//! let welcome = Welcome {
//!     log,
//!     term: Term(1),
//!     tail: nothing.position().index,
//!     floor: nothing.position().index,
//!     heartbeat_interval: Duration::from_secs(1),
//!     durability: Durability::Memory,
//!     leader_time: Timestamp(1_000_000),
//!     verdict: Verdict::Resumed,
//!     damaged: false,
//!     stream: StreamId(1),
//! };
//! replica.handle_frame(Frame::Welcome(welcome), now);
//!
//! // The leader commits a batch and sends it.
//! sequencer.propose(Operation::Add(6))?;
//! sequencer.propose(Operation::Multiply(7))?;
//! let batch = sequencer.seal(Timestamp(1_000_000)).expect("two operations were proposed");
//! sequencer.commit();
//! replica.handle_frame(Frame::Batch(batch), now);
//!
//! assert_eq!(replica.state(), State::Live);
//! assert_eq!(replica.snapshot(), Some(sequencer.committed()));
//! assert_eq!(replica.value(), Some(42));
//! # Ok::<(), engine::leader::ProposeError>(())
//! ```
//!
//! | to find | look in |
//! |---|---|
//! | the six operations and when they are refused | [`calculator`] |
//! | index, term, digest, position, log id | [`position`] |
//! | how the digest is computed | [`digest`] |
//! | who submitted what, for people | [`author`] |
//! | what a committed batch and a snapshot are | [`batch`], [`snapshot`] |
//! | what travels on the stream | [`frame`] |
//! | pages of history, and how they are checked | [`history`] |
//! | how a leader finds a position that a replica reports | [`standing`] |
//! | faults of a link, for tests and for showing how a replica heals | [`injector`] |
//! | who submits what, for exactly-once | [`producer`] |
//! | the leader's half: the log grows, callers are answered, subscribers are served | [`leader`] |
//! | the replica's half: every state and input in one table | [`replica`] |

pub mod author;
pub mod batch;
pub mod calculator;
pub mod digest;
pub mod fault;
pub mod frame;
pub mod history;
pub mod injector;
pub mod leader;
pub mod position;
pub mod producer;
pub mod replica;
pub mod snapshot;
pub mod standing;
pub mod time;

pub use author::{Author, AuthorRun, Authors, Identity, ReplicaKind};
pub use batch::{Batch, EmptyBatch, Event};
pub use calculator::{Operation, Refusal, apply};
pub use frame::{
    Dropped, Durability, Frame, Goodbye, GoodbyeReason, Heartbeat, Resume, SnapshotReason, StreamId, Subscribe,
    Verdict, Welcome,
};
pub use history::{BatchEnd, HistoryPage, WrongHistory};
pub use injector::{Injector, LinkFault, Struck};
pub use leader::{ProducerChanges, ProducerError, Submitted};
pub use position::{Digest, Index, LogId, Position, Term};
pub use producer::{ProducerId, Sequence, Submission};
pub use replica::Replica;
pub use snapshot::{Snapshot, SnapshotMismatch};
pub use standing::Standing;
pub use time::{Moment, Timestamp};
