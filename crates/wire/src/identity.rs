//! The identity of a replica, and of who submits an operation.
//!
//! ```
//! use wire::{Identity, ReplicaKind, pb};
//!
//! let identity = Identity { id: "7f3a".to_owned(), name: "replica-1".to_owned(), kind: ReplicaKind::Native };
//! assert_eq!(Identity::try_from(pb::Replica::from(identity.clone())), Ok(identity));
//!
//! let too_long = pb::Replica { name: "n".repeat(65), ..Default::default() };
//! let error = Identity::try_from(too_long).unwrap_err();
//! assert_eq!(error.to_string(), "the replica's name has 65 bytes; at most 64 are allowed");
//! ```

pub use engine::author::MAX_IDENTITY_BYTES as MAX_BYTES;
pub use engine::{Identity, ReplicaKind};
