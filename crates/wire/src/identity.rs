//! Who a replica says it is.

use thiserror::Error;

use crate::pb;

/// The most bytes of a replica's id, and of its name.
pub const MAX_BYTES: usize = 64;

/// Who a replica says it is. Nothing of it is checked but its length; it serves people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Chosen at random by the replica when it starts; empty if it did not say.
    pub id: String,
    /// A name for people; need not be unique.
    pub name: String,
    /// What program it is.
    pub kind: ReplicaKind,
}

/// What program a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplicaKind {
    /// Not told.
    #[default]
    Unknown,
    /// A process of its own.
    Native,
    /// A page in a browser.
    Browser,
}

/// A replica's id or name is too long.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the replica's {field} has {bytes} bytes; at most {MAX_BYTES} are allowed")]
pub struct IdentityTooLong {
    /// `id` or `name`.
    pub field: &'static str,
    /// How long it is.
    pub bytes: usize,
}

impl TryFrom<pb::Replica> for Identity {
    type Error = IdentityTooLong;

    fn try_from(replica: pb::Replica) -> Result<Self, Self::Error> {
        let kind = match replica.kind() {
            pb::ReplicaKind::Unspecified => ReplicaKind::Unknown,
            pb::ReplicaKind::Native => ReplicaKind::Native,
            pb::ReplicaKind::Browser => ReplicaKind::Browser,
        };
        for (field, text) in [("id", &replica.id), ("name", &replica.name)] {
            if text.len() > MAX_BYTES {
                return Err(IdentityTooLong { field, bytes: text.len() });
            }
        }
        Ok(Self { id: replica.id, name: replica.name, kind })
    }
}

impl From<Identity> for pb::Replica {
    fn from(identity: Identity) -> Self {
        let kind = match identity.kind {
            ReplicaKind::Unknown => pb::ReplicaKind::Unspecified,
            ReplicaKind::Native => pb::ReplicaKind::Native,
            ReplicaKind::Browser => pb::ReplicaKind::Browser,
        };
        Self { id: identity.id, name: identity.name, kind: kind.into() }
    }
}
