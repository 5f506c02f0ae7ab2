//! `Submit`: appends an operation to the log.

use engine::{Event, Submission};
use tonic::Status;
use tonic::metadata::MetadataMap;
use wire::status::invalid;
use wire::{DecodeError, pb};

use super::Calculator;

pub(super) async fn answer(
    calculator: &Calculator,
    headers: &MetadataMap,
    request: pb::SubmitRequest,
) -> Result<pb::SubmitResponse, Status> {
    let span = calculator.traces.submission(headers);
    let answer = commit(calculator, request).await;
    if let Some(span) = span {
        span.end(&answer);
    }
    answer.map(|event| pb::SubmitResponse { index: event.index.0, value: event.value })
}

async fn commit(calculator: &Calculator, request: pb::SubmitRequest) -> Result<Event, Status> {
    let submission = Submission::try_from(request).map_err(|error| match error {
        DecodeError::Missing(_) => invalid(
            "the request has no operation: set one of add, subtract, multiply, divide, square_root, power_of_two",
        ),
        error => invalid(&error.to_string()),
    })?;
    Ok(calculator.submitter.submit(submission).await?)
}
