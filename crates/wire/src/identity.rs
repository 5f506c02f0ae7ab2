//! The identity of a replica.

/// The most bytes of a replica's id, and of its name.
pub const MAX_BYTES: usize = 64;

/// The identity that a replica gives. Only its lengths are checked; it is for people.
///
/// ```
/// use wire::{Identity, ReplicaKind, pb};
///
/// let identity = Identity { id: "7f3a".to_owned(), name: "replica-1".to_owned(), kind: ReplicaKind::Native };
/// assert_eq!(Identity::try_from(pb::Replica::from(identity.clone())), Ok(identity));
///
/// let too_long = pb::Replica { name: "n".repeat(65), ..Default::default() };
/// let error = Identity::try_from(too_long).unwrap_err();
/// assert_eq!(error.to_string(), "the replica's name has 65 bytes; at most 64 are allowed");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Chosen at random by the replica when it starts; empty if it gives none. At most [`MAX_BYTES`] long.
    pub id: String,
    /// A name for people, at most [`MAX_BYTES`] long. Need not be unique.
    pub name: String,
    /// What program it is.
    pub kind: ReplicaKind,
}

/// What program a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplicaKind {
    /// The replica does not say.
    #[default]
    Unknown,
    /// A process of its own.
    Native,
    /// A page in a browser.
    Browser,
}
