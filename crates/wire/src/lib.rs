//! Bytes: the generated code of `proto/`, its conversions to engine types, and the encoding of frames.
//!
//! Programs convert generated types where they send or receive them, and use engine types everywhere else. [`convert`] has
//! the conversions and their typed errors.
//!
//! ```
//! use engine::{Frame, Heartbeat, Index, Term, Timestamp};
//! use wire::frame::{decode_next, encode};
//! use wire::pb;
//!
//! let heartbeat = Heartbeat { term: Term(1), tail: Index(7), floor: Index(0), leader_time: Timestamp(0) };
//! assert_eq!(pb::Heartbeat::from(heartbeat).tail, 7);
//!
//! let frame = Frame::Heartbeat(heartbeat);
//! let mut bytes = encode(&frame);
//! assert_eq!(decode_next(&mut bytes)?, Some(frame));
//! # Ok::<(), wire::frame::FrameError>(())
//! ```

pub mod convert;
pub mod frame;
pub mod identity;
pub mod roster;
pub mod status;

pub use convert::DecodeError;
pub use identity::{Identity, ReplicaKind};
pub use roster::{GeneratorStatus, Roster, RosterRow};

/// Generated from `proto/calculator/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod calculator {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("calculator.v1");
    }
}

/// Generated from `proto/sharedcalculator.proto`, the original demo's service.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod sharedcalculator {
    tonic::include_proto!("sharedcalculator");
}

pub use calculator::v1 as pb;

/// All of `proto/` as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
