//! Bytes: the generated code of `proto/`, its conversions to engine types, and the one place where frames are encoded.
//!
//! No generated type travels beyond this crate's users' edges: they convert at once, with [`convert`]'s typed errors.

pub mod convert;
pub mod frame;
pub mod identity;
pub mod status;

pub use convert::DecodeError;
pub use identity::{Identity, ReplicaKind};

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
