//! `SubmitRequest`.

use engine::{Identity, Index, ProducerId, Sequence, Submission};

use super::{DecodeError, Missing, ZeroSequence};
use crate::pb;

impl From<Submission> for pb::SubmitRequest {
    fn from(submission: Submission) -> Self {
        let producer =
            submission.producer.map(|(id, sequence)| pb::Producer { id: id.as_str().to_owned(), sequence: sequence.0 });
        let expected_index = submission.expected.map(|index| index.0);
        let author = submission.author.map(Into::into);
        Self { operation: Some(submission.operation.into()), producer, expected_index, author }
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
        let author = request.author.map(Identity::try_from).transpose()?;
        Ok(Self { operation, producer, expected: request.expected_index.map(Index), author })
    }
}

#[cfg(test)]
mod tests {
    use engine::Operation;
    use engine::producer::InvalidProducerId;

    use super::*;
    use crate::convert::IdentityTooLong;

    #[test]
    fn a_submission_survives_the_wire() {
        let producer = Some((ProducerId::new("me").unwrap(), Sequence(3)));
        let author = Some(Identity { name: "me".to_owned(), ..Identity::default() });
        for (producer, expected, author) in [
            (None, None, None),
            (producer.clone(), Some(Index(0)), author),
            (producer, None, Some(Identity::default())),
        ] {
            let submission = Submission { operation: Operation::Divide(0), producer, expected, author };
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
        let author = Some(pb::Replica { id: "x".repeat(65), ..Default::default() });
        let long = pb::SubmitRequest { author, ..Submission::from(Operation::SquareRoot).into() };
        assert_eq!(Submission::try_from(long), Err(IdentityTooLong { field: "id", bytes: 65 }.into()));
        assert_eq!(Submission::try_from(pb::SubmitRequest::default()), Err(Missing("operation").into()));
    }
}
