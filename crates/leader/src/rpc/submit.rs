//! `Submit`: appends an operation to the log.

use engine::Submission;
use tonic::Status;
use wire::status::invalid;
use wire::{DecodeError, pb};

use super::Calculator;

pub(super) async fn answer(calculator: &Calculator, request: pb::SubmitRequest) -> Result<pb::SubmitResponse, Status> {
    let submission = Submission::try_from(request).map_err(|error| match error {
        DecodeError::Missing(_) => invalid(
            "the request has no operation: set one of add, subtract, multiply, divide, square_root, power_of_two",
        ),
        error => invalid(&error.to_string()),
    })?;
    let event = calculator.submitter.submit(submission).await?;
    Ok(pb::SubmitResponse { index: event.index.0, value: event.value })
}
