//! `Replica`, and its enum `ReplicaKind`.

use super::IdentityTooLong;
use crate::identity::MAX_BYTES;
use crate::{Identity, ReplicaKind, pb};

impl From<Identity> for pb::Replica {
    fn from(identity: Identity) -> Self {
        let kind = pb::ReplicaKind::from(identity.kind).into();
        Self { id: identity.id, name: identity.name, kind }
    }
}

impl TryFrom<pb::Replica> for Identity {
    type Error = IdentityTooLong;

    fn try_from(replica: pb::Replica) -> Result<Self, Self::Error> {
        let kind = replica.kind().into();
        for (field, text) in [("id", &replica.id), ("name", &replica.name)] {
            if text.len() > MAX_BYTES {
                return Err(IdentityTooLong { field, bytes: text.len() });
            }
        }
        Ok(Self { id: replica.id, name: replica.name, kind })
    }
}

impl From<ReplicaKind> for pb::ReplicaKind {
    fn from(kind: ReplicaKind) -> Self {
        match kind {
            ReplicaKind::Unknown => Self::Unspecified,
            ReplicaKind::Native => Self::Native,
            ReplicaKind::Browser => Self::Browser,
        }
    }
}

impl From<pb::ReplicaKind> for ReplicaKind {
    fn from(kind: pb::ReplicaKind) -> Self {
        match kind {
            pb::ReplicaKind::Unspecified => Self::Unknown,
            pb::ReplicaKind::Native => Self::Native,
            pb::ReplicaKind::Browser => Self::Browser,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_wire() {
        for kind in [ReplicaKind::Unknown, ReplicaKind::Native, ReplicaKind::Browser] {
            let identity = Identity { id: "1".to_owned(), name: "n".repeat(MAX_BYTES), kind };
            assert_eq!(pb::Replica::from(identity.clone()).try_into(), Ok(identity));
        }
    }

    #[test]
    fn an_id_or_name_that_is_too_long_is_refused() {
        let long = "n".repeat(MAX_BYTES + 1);
        for (field, id, name) in [("id", long.as_str(), ""), ("name", "", long.as_str())] {
            let replica = pb::Replica { id: id.to_owned(), name: name.to_owned(), kind: 0 };
            assert_eq!(Identity::try_from(replica), Err(IdentityTooLong { field, bytes: MAX_BYTES + 1 }));
        }
    }
}
