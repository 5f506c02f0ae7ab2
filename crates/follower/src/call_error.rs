//! Why a call failed, whatever carried it.

use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};

use crate::NotAllowed;

/// A call to a leader failed. Its message is for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CallError {
    /// gRPC's code; [`Code::Unknown`] if no answer came.
    pub code: Code,
    /// The leader's message, or what the transport knows.
    pub message: String,
    /// The leader's reason, as `calculator.proto` lists them. Empty if a proxy or the transport refused the call.
    pub reason: String,
    /// What the reason says in addition, by key.
    metadata: Vec<Entry>,
}

impl CallError {
    /// `details` is an encoded `google.rpc.Status`. It is empty where nothing but the leader's service would send one.
    #[must_use]
    pub fn new(code: Code, message: String, details: &[u8]) -> Self {
        let message = if message.is_empty() { code.description().to_owned() } else { message };
        let info = error_info(details).unwrap_or_default();
        Self { code, message, reason: info.reason, metadata: info.metadata }
    }

    /// No answer came, or none that can be understood.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Code::Unknown, message.into(), &[])
    }

    /// Whether the call was refused for its token, and why.
    #[must_use]
    pub fn not_allowed(&self) -> Option<NotAllowed> {
        NotAllowed::by_reason(&self.reason)
    }

    /// A number that the reason comes with; 0 if it comes with none of that name.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        let entry = self.metadata.iter().find(|entry| entry.key == key);
        entry.and_then(|entry| entry.value.parse().ok()).unwrap_or_default()
    }
}

/// Takes the causes into the message, which the transport gives instead of one.
impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let mut message =
            if status.message().is_empty() { status.code().description() } else { status.message() }.to_owned();
        let mut cause = std::error::Error::source(&status);
        while let Some(error) = cause {
            let text = error.to_string();
            // Tonic's name for any failure of the transport says nothing.
            if text != "transport error" && !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        // What rustls says of a port that answers in cleartext.
        if message.contains("InvalidContentType") {
            message += ": the port does not speak TLS, use http://";
        }
        Self::new(status.code(), message, status.details())
    }
}

fn error_info(details: &[u8]) -> Option<ErrorInfo> {
    let status = RichStatus::decode(details).ok()?;
    let any = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    ErrorInfo::decode(any.value.as_slice()).ok()
}

/// The part of `google.rpc.Status` that is read.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The part of `google.rpc.ErrorInfo` that is read.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Entry>,
}

/// An entry of a map, as protobuf encodes it.
#[derive(Clone, PartialEq, Eq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[cfg(test)]
mod tests {
    use wire::status::status;

    use super::*;
    use crate::grpc::SubmitError;
    use crate::{ControlError, ReadError};

    #[test]
    fn reason_and_numbers_are_read_from_the_details() {
        let metadata = [("current_index", "7".to_owned()), ("index", "many".to_owned())];
        let error = CallError::from(status(Code::FailedPrecondition, "INDEX_MISMATCH", &metadata, "at 7"));
        assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "INDEX_MISMATCH"));
        assert_eq!(error.to_string(), "at 7");
        assert_eq!((error.number("current_index"), error.number("index"), error.number("floor")), (7, 0, 0));
    }

    #[test]
    fn a_refusal_for_the_token_is_told_apart() {
        for (code, reason, not_allowed) in [
            (Code::Unauthenticated, "TOKEN_MISSING", Some(NotAllowed::Missing)),
            (Code::Unauthenticated, "TOKEN_UNKNOWN", Some(NotAllowed::Unknown)),
            (Code::PermissionDenied, "TOKEN_ONLY_READS", Some(NotAllowed::OnlyReads)),
            (Code::PermissionDenied, "CONTROL_OFF", None),
        ] {
            let error = CallError::from(status(code, reason, &[], "no"));
            assert_eq!(error.not_allowed(), not_allowed);
            let submit =
                matches!(SubmitError::from(error.clone()), SubmitError::NotAllowed(why) if Some(why) == not_allowed);
            let control =
                matches!(ControlError::from(error.clone()), ControlError::NotAllowed(why) if Some(why) == not_allowed);
            let read = matches!(ReadError::from(error), ReadError::NotAllowed(why) if Some(why) == not_allowed);
            assert_eq!([submit, control, read], [not_allowed.is_some(); 3], "{reason}");
        }
    }

    #[test]
    fn details_that_are_not_a_status_are_no_reason() {
        for details in [&b""[..], b"\xff", b"\x1a\x03\x0a\x01x"] {
            assert_eq!(CallError::new(Code::Internal, "no".to_owned(), details).reason, "");
        }
    }

    #[test]
    fn a_port_without_tls_is_named() {
        let cause = std::io::Error::other("received corrupt message of type InvalidContentType");
        let error = CallError::from(Status::from_error(Box::new(cause)));
        assert!(error.message.ends_with("use http://"), "{error}");
    }

    #[test]
    fn causes_are_part_of_the_message() {
        let cause = std::io::Error::other("connection refused");
        let error = CallError::from(Status::from_error(Box::new(cause)));
        assert!(error.message.contains("connection refused"), "{error}");
        assert_eq!(CallError::from(Status::unavailable("")).message, Code::Unavailable.description());
    }
}
