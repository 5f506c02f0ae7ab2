//! `SubmitRequest`.

use engine::{Index, ProducerId, Sequence, Submission};

use super::{DecodeError, Missing, ZeroSequence};
use crate::pb;

impl From<Submission> for pb::SubmitRequest {
    fn from(submission: Submission) -> Self {
        let producer =
            submission.producer.map(|(id, sequence)| pb::Producer { id: id.as_str().to_owned(), sequence: sequence.0 });
        let expected_index = submission.expected.map(|index| index.0);
        Self { operation: Some(submission.operation.into()), producer, expected_index }
    }
}

impl TryFrom<pb::SubmitRequest> for Submission {
    type Error = DecodeError;

    fn try_from(request: pb::SubmitRequest) -> Result<Self, Self::Error> {
        let operation = request.operation.ok_or(Missing("operation"))?.try_into()?;
        let producer = match request.producer {
            Some(pb::Producer { sequence: 0, .. }) => return Err(ZeroSequence.into()),
            Some(pb::Producer { id, sequence }) => Some((ProducerId::new(&id)?, Sequence(sequence))),
            None => None,
        };
        Ok(Self { operation, producer, expected: request.expected_index.map(Index) })
    }
}

#[cfg(test)]
mod tests {
    use engine::Operation;
    use engine::producer::InvalidProducerId;

    use super::*;

    #[test]
    fn a_submission_survives_the_wire() {
        let producer = Some((ProducerId::new("me").unwrap(), Sequence(3)));
        for (producer, expected) in [(None, None), (producer.clone(), Some(Index(0))), (producer, None)] {
            let submission = Submission { operation: Operation::Divide(0), producer, expected };
            assert_eq!(pb::SubmitRequest::from(submission.clone()).try_into(), Ok(submission));
        }
    }

    #[test]
    fn a_malformed_submission_says_what_is_wrong() {
        let with = |id: &str, sequence| pb::SubmitRequest {
            producer: Some(pb::Producer { id: id.to_owned(), sequence }),
            ..Submission::from(Operation::SquareRoot).into()
        };
        assert_eq!(Submission::try_from(with("me", 0)), Err(ZeroSequence.into()));
        assert_eq!(Submission::try_from(with("", 1)), Err(InvalidProducerId(0).into()));
        assert_eq!(Submission::try_from(pb::SubmitRequest::default()), Err(Missing("operation").into()));
    }
}
