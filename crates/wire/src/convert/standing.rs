//! The enum `Standing`.

use engine::Standing;

use crate::pb;

impl From<Standing> for pb::Standing {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::InStep => Self::InStep,
            Standing::OtherLog => Self::OtherLog,
            Standing::Ahead => Self::Ahead,
            Standing::Compacted => Self::Compacted,
            Standing::Diverged => Self::Diverged,
            Standing::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::Standing> for Standing {
    fn from(standing: pb::Standing) -> Self {
        match standing {
            pb::Standing::InStep => Self::InStep,
            pb::Standing::OtherLog => Self::OtherLog,
            pb::Standing::Ahead => Self::Ahead,
            pb::Standing::Compacted => Self::Compacted,
            pb::Standing::Diverged => Self::Diverged,
            pb::Standing::Unspecified => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_survives_the_wire() {
        use Standing::{Ahead, Compacted, Diverged, InStep, OtherLog, Unknown};
        for (number, standing) in (0..).zip([Unknown, InStep, OtherLog, Ahead, Compacted, Diverged]) {
            let sent = pb::Standing::from(standing);
            assert_eq!((i32::from(sent), Standing::from(sent)), (number, standing));
        }
        let newer = pb::ReportProgressResponse { standing: 99, ..Default::default() };
        assert_eq!(Standing::from(newer.standing()), Unknown);
    }
}
