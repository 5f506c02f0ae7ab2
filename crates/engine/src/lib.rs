//! The calculator and both halves of its replication protocol.
//!
//! Everything here is a deterministic function of its arguments. The crate opens no socket, reads no clock, draws no
//! random number and starts no thread: time comes in as a [`Moment`], randomness as a seed, frames as values. That is
//! why the same replica runs in a native process, in a browser and in a simulation, and why a run replays from a seed.
//!
//! | to find | look in |
//! |---|---|
//! | the six operations and when they are refused | [`calculator`] |
//! | index, term, digest, position, log id | [`position`] |
//! | how the digest is computed | [`digest`] |
//! | what a committed batch and a snapshot are | [`batch`], [`snapshot`] |
//! | what travels on the stream | [`frame`] |
//! | how a leader finds a position that a replica reports | [`standing`] |
//! | who submits what, for exactly-once | [`producer`] |
//! | the leader's half: the log grows, callers are answered, subscribers are served | [`leader`] |
//! | the replica's half: every state and input in one table | [`replica`] |

pub mod batch;
pub mod calculator;
pub mod digest;
pub mod fault;
pub mod frame;
pub mod leader;
pub mod position;
pub mod producer;
pub mod replica;
pub mod snapshot;
pub mod standing;
pub mod time;

pub use batch::{Batch, EmptyBatch, Event};
pub use calculator::{Operation, Refusal, apply};
pub use frame::{
    Durability, Frame, Goodbye, GoodbyeReason, Heartbeat, Resume, SnapshotReason, StreamId, Subscribe, Verdict, Welcome,
};
pub use leader::{ProducerChanges, ProducerError, Submitted};
pub use position::{Digest, Index, LogId, Position, Term};
pub use producer::{ProducerId, Sequence, Submission};
pub use replica::Replica;
pub use snapshot::{Snapshot, SnapshotMismatch};
pub use standing::Standing;
pub use time::{Moment, Timestamp};
