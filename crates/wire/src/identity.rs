//! Who a replica says it is.

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
