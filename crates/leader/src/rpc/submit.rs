//! `Submit`: appends an operation to the log.

use engine::{Event, Submission};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use wire::status::{invalid, with_retry};
use wire::{DecodeError, pb};

use super::Calculator;
use crate::http::client::Client;
use crate::rate::{Source, TooMany};

pub(super) async fn answer(
    calculator: &Calculator,
    headers: &MetadataMap,
    client: Option<Client>,
    request: pb::SubmitRequest,
) -> Result<pb::SubmitResponse, Status> {
    let span = calculator.traces.submission(headers);
    let answer = commit(calculator, client, request).await;
    if let Some(span) = span {
        span.end(&answer);
    }
    answer.map(|event| pb::SubmitResponse { index: event.index.0, value: event.value })
}

async fn commit(calculator: &Calculator, client: Option<Client>, request: pb::SubmitRequest) -> Result<Event, Status> {
    let submission = Submission::try_from(request).map_err(|error| match error {
        DecodeError::Missing(_) => invalid(
            "the request has no operation: set one of add, subtract, multiply, divide, square_root, power_of_two",
        ),
        error => invalid(&error.to_string()),
    })?;
    let source = match &submission.producer {
        Some((producer, _)) => Source::Producer(producer.clone()),
        None => Source::Client(client),
    };
    calculator.rate.admit(&source).map_err(too_many)?;
    Ok(calculator.submitter.submit(submission).await?)
}

fn too_many(too_many: TooMany) -> Status {
    let TooMany { of_all, retry_after } = too_many;
    let (limit, message) = if of_all {
        ("all", "callers submit more operations a second than this leader takes; try again")
    } else {
        ("producer", "this producer submits more operations a second than one may; try again")
    };
    let metadata = [("limit", limit.to_owned())];
    with_retry(Code::ResourceExhausted, "TOO_MANY_SUBMITS", &metadata, Some(retry_after), message)
}
