//! `Operation`.

use engine::Operation;

use super::Missing;
use crate::pb;
use crate::pb::operation::Kind;

impl From<Operation> for pb::Operation {
    fn from(operation: Operation) -> Self {
        let kind = match operation {
            Operation::Add(n) => Kind::Add(n),
            Operation::Subtract(n) => Kind::Subtract(n),
            Operation::Multiply(n) => Kind::Multiply(n),
            Operation::Divide(n) => Kind::Divide(n),
            Operation::SquareRoot => Kind::SquareRoot(pb::SquareRoot {}),
            Operation::PowerOfTwo => Kind::PowerOfTwo(pb::PowerOfTwo {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Operation> for Operation {
    type Error = Missing;

    fn try_from(operation: pb::Operation) -> Result<Self, Self::Error> {
        Ok(match operation.kind.ok_or(Missing("operation.kind"))? {
            Kind::Add(n) => Self::Add(n),
            Kind::Subtract(n) => Self::Subtract(n),
            Kind::Multiply(n) => Self::Multiply(n),
            Kind::Divide(n) => Self::Divide(n),
            Kind::SquareRoot(pb::SquareRoot {}) => Self::SquareRoot,
            Kind::PowerOfTwo(pb::PowerOfTwo {}) => Self::PowerOfTwo,
        })
    }
}
